"""
Check a model without running it: a complete graph of known operators, with no external data.

No runtime has read the file yet.  All problems are reported, not only the first.  Names come from
the file and are quoted, so that none can forge a line of the log.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from models.contract import ContractError, ModelCard
from service.engine.vetting.messages import strangers
from service.engine.vetting.operators import OPERATORS

IR_VERSIONS = range(8, 13)
OPSETS = range(17, 26)
STANDARD = ("", "ai.onnx")  # two names of the one domain
_QUOTED = 60  # characters of a name
_GRAPH, _GRAPHS = 5, 10  # AttributeProto.AttributeType

# TensorProto.DataType: name, bytes of one in raw_data, where one is kept otherwise
_TYPES: Mapping[int, tuple[str, int, str]] = {
    1: ("float", 4, "float_data"),
    2: ("uint8", 1, "int32_data"),
    3: ("int8", 1, "int32_data"),
    6: ("int32", 4, "int32_data"),
    7: ("int64", 8, "int64_data"),
    9: ("bool", 1, "int32_data"),
    10: ("float16", 2, "int32_data"),
    11: ("double", 8, "double_data"),
    16: ("bfloat16", 2, "int32_data"),
}


def findings(model: Any) -> Iterator[str]:  # noqa: ANN401  a ModelProto
    """Yield a sentence for each problem of a model."""
    for stranger in strangers(model):
        yield f"{stranger} is none that a model here may have."
    if model.ir_version not in IR_VERSIONS:
        yield f"The IR version is {model.ir_version}, not {_span(IR_VERSIONS)}."
    yield from _opsets(model)
    yield from _card(model)
    for function in model.functions:
        yield f"A function {quoted(function.name)} is defined; a graph here has operators only."
        yield from _nodes(function.node)
    yield from _graph(model.graph)


def card_of(model: Any) -> ModelCard:  # noqa: ANN401
    """Return the card of a model; raise ContractError."""
    return ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})


def quoted(name: str) -> str:
    """Return a name from the file as a short ASCII literal."""
    return ascii(name if len(name) <= _QUOTED else name[:_QUOTED] + "...")


def _opsets(model: Any) -> Iterator[str]:  # noqa: ANN401
    versions = [opset.version for opset in model.opset_import if opset.domain in STANDARD]
    for opset in model.opset_import:
        if opset.domain not in STANDARD:
            yield f"The domain {quoted(opset.domain)} is not allowed."
    if len(versions) != 1 or versions[0] not in OPSETS:
        yield f"The operator sets are {versions}, not one of {_span(OPSETS)}."


def _card(model: Any) -> Iterator[str]:  # noqa: ANN401
    keys = [entry.key for entry in model.metadata_props]
    if len(set(keys)) != len(keys):
        yield "A key of the metadata is there twice."
    try:
        card_of(model)
    except ContractError as exc:
        yield str(exc)


def _graph(graph: Any) -> Iterator[str]:  # noqa: ANN401
    for tensor in graph.initializer:
        yield from _tensor(tensor, f"The initializer {quoted(tensor.name)}")
    yield from _nodes(graph.node)


def _nodes(nodes: Any) -> Iterator[str]:  # noqa: ANN401
    for node in nodes:
        if node.domain not in STANDARD:
            name = f"{node.domain}.{node.op_type}"
            yield f"The operator {quoted(name)} is of a domain that is not allowed."
        elif node.op_type not in OPERATORS:
            yield f"The operator {quoted(node.op_type)} is not allowed."
        for attribute in node.attribute:
            yield from _attribute(attribute, f"{quoted(node.op_type)}'s {quoted(attribute.name)}")


def _attribute(attribute: Any, place: str) -> Iterator[str]:  # noqa: ANN401
    inner = [*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs]
    if inner or attribute.type in (_GRAPH, _GRAPHS):
        yield f"{place} is a graph inside the graph."
    for graph in inner:
        yield from _graph(graph)
    for tensor in (*([attribute.t] if attribute.HasField("t") else ()), *attribute.tensors):
        yield from _tensor(tensor, place)


def _tensor(tensor: Any, place: str) -> Iterator[str]:  # noqa: ANN401
    """Report numbers in another file, of a wrong type, or not as many as the shape says."""
    if tensor.external_data or tensor.data_location:
        yield f"{place} has its numbers in another file."
        return
    if tensor.data_type not in _TYPES:
        yield f"{place} is of a type that is not allowed (TensorProto type {tensor.data_type})."
        return
    name, itemsize, field = _TYPES[tensor.data_type]
    kept = {other: len(getattr(tensor, other)) for _, _, other in _TYPES.values()}
    raw = len(tensor.raw_data)
    if min(tensor.dims, default=0) < 0:
        yield f"{place} has a negative dimension."
    elif raw % itemsize or sum(kept.values()) > kept[field] or (raw and kept[field]):
        yield f"{place} does not keep its numbers as {name}."
    elif (count := math.prod(tensor.dims)) != (found := raw // itemsize + kept[field]):
        yield f"{place} has {found} numbers; its shape says {_thousands(count)}."


def _thousands(count: int) -> str:
    return f"{count:,}" if count < 10**15 else f"more than {10**15:,}"


def _span(numbers: range) -> str:
    return f"{numbers[0]} to {numbers[-1]}"
