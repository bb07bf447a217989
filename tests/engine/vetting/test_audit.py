"""What a file must not hold is found without running it, wherever in the file it is."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import onnx_ml_pb2

from service.engine.vetting import messages
from service.engine.vetting.audit import OPSETS, findings
from service.engine.vetting.messages import NotWhole, parse
from service.engine.vetting.operators import OPERATORS
from service.settings import ZOO
from tests.engine.vetting.hostile import SOUND, STATIC, changed, content


def found(data: bytes) -> list[str]:
    return list(findings(parse(data)))


@pytest.mark.parametrize("path", sorted(ZOO.glob("*/*.onnx")), ids=lambda path: path.parent.name)
def test_nothing_is_found_in_a_model_of_the_zoo(path):
    assert found(path.read_bytes()) == []


def test_nothing_is_found_in_a_fresh_export(zoo):
    assert [found(path.read_bytes()) for path in zoo.values()] == [[], [], []]


@pytest.mark.parametrize(("change", "said"), STATIC.values(), ids=STATIC)
def test_what_a_file_must_not_hold_is_found(tmp_path, change, said):
    assert found(content(SOUND, tmp_path)) == []
    assert said in "\n".join(found(changed(tmp_path, change)))


def test_all_that_is_wrong_is_found_at_once(tmp_path):
    def change(model):
        for wrong, _ in STATIC.values():
            wrong(model)

    assert len(found(changed(tmp_path, change))) >= 15


def test_a_file_cut_short_anywhere_is_no_model(tmp_path):
    whole = content(SOUND, tmp_path)
    for end in range(len(whole)):
        try:
            assert found(whole[:end]) != []
        except NotWhole:
            continue


@pytest.mark.parametrize(
    "data", [b"garbage", b"\x80\x04\x95", b"PK\x03\x04", b"\n" * 100, b"\x3a" * 10_000]
)
def test_garbage_is_no_model(data):
    with pytest.raises(NotWhole, match="no ONNX model, or not a whole one"):
        parse(data)


def test_an_empty_file_is_no_model():
    assert found(b"") != []


def test_a_graph_nested_too_deep_is_no_model():
    def field(number: int, data: bytes) -> bytes:
        size = len(data)
        return bytes([number << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + data

    graph = b""
    for _ in range(200):  # a graph in an attribute of a node of a graph
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(NotWhole):
        parse(field(7, graph))


def test_the_table_of_messages_is_onnx_s():
    """A number or a type that differs would let something pass unseen."""
    theirs = {}
    waiting = list(onnx_ml_pb2.DESCRIPTOR.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        waiting += message.nested_types
        theirs[message.name] = {field.name: field for field in message.fields}
    names = {"TensorTypeProto": "Tensor", "DimensionProto": "Dimension"}
    for name, table in messages.TABLE.items():
        for text in table.split(","):
            field, number, kind = text.split()
            real = theirs[names.get(name, name)][field]
            assert (real.number, real.is_repeated) == (int(number), kind.endswith("*")), field
            if real.message_type is not None:
                inner = {v: k for k, v in names.items()}.get(real.message_type.name)
                assert kind.rstrip("*") == (inner or real.message_type.name)


def test_every_operator_allowed_is_one_of_onnx_s_and_holds_no_graph():
    for name in OPERATORS:
        schema = onnx.defs.get_schema(name, OPSETS[-1])
        kinds = {attribute.type for attribute in schema.attributes.values()}
        assert not kinds & {onnx.defs.OpSchema.AttrType.GRAPH, onnx.defs.OpSchema.AttrType.GRAPHS}
        assert "seed" not in schema.attributes


def test_the_audit_needs_no_runtime():
    code = "import sys, service.engine.vetting.audit; print('onnxruntime' in sys.modules)"
    root = Path(__file__).parents[3]
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "False"
