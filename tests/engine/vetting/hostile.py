"""Model files that somebody made to do harm, or that harm by accident; by what is wrong."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.contract import LENGTHS, PREDICTIONS, SEQUENCES
from tests.engine.graphs import FLOAT, INT64, Graph, card

SOUND = Graph()
node = helper.make_node


def content(graph, folder: Path) -> bytes:
    path = folder / "made.onnx"
    graph.write(path)
    return path.read_bytes()


def changed(folder: Path, change) -> bytes:
    """Return a sound model after a change of its message."""
    model = onnx.load_from_string(content(SOUND, folder))
    change(model)
    return model.SerializeToString()


def custom(nodes, constants=(), inputs=(), **of_card) -> bytes:
    """Return a model of one's own nodes, the last of which makes "raw", with a sound card."""
    inputs = {SEQUENCES: ["batch", "time", 1], LENGTHS: ["batch"]} | dict(inputs)
    nodes = [*nodes, node("Reshape", ["raw", "of answers"], [PREDICTIONS])]
    constants = {"of answers": np.array([-1, 2, 1, 3])} | dict(constants)
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "custom",
            [
                helper.make_tensor_value_info(name, INT64 if name == LENGTHS else FLOAT, shape)
                for name, shape in inputs.items()
            ],
            [helper.make_tensor_value_info(PREDICTIONS, FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 23)],
        ir_version=10,
    )
    helper.set_model_props(model, card(**of_card).to_metadata())
    return model.SerializeToString()


def _external(tensor) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def _outside():
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), "far")
    _external(tensor)
    return tensor


def _branch(*nodes):
    info = helper.make_tensor_value_info("way", FLOAT, None)
    return helper.make_graph(
        nodes or [node("Identity", [SEQUENCES], ["way"])], "branch", [], [info]
    )


def _with(*nodes):
    return lambda model: model.graph.node.extend(nodes)


def _function(model) -> None:
    inner = node("Constant", [], ["y"], value=_outside())
    opsets = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("", "Mine", ["x"], ["y"], [inner], opsets))


def _claim(model) -> None:
    model.graph.initializer[0].dims[:] = [1 << 28]  # 1 GiB of float32


def _overflow(model) -> None:
    model.graph.initializer[0].dims[:] = [1 << 62, 1 << 62]


def _minus(model) -> None:
    model.graph.initializer[0].dims[:] = [-1, -1]


def _sparse(model) -> None:
    model.graph.sparse_initializer.add().dims[:] = [1 << 40]


def _training(model) -> None:
    model.training_info.add().algorithm.node.extend([node("Loop", [], [])])


def _opset(version, domain=""):
    def change(model):
        model.opset_import.append(helper.make_opsetid(domain, version))

    return change


def _twice(model) -> None:
    model.metadata_props.add(key="model_card", value="{}")


def _text(model) -> None:
    model.graph.initializer.append(
        helper.make_tensor("words", TensorProto.STRING, [1], [b"rm -rf /"])
    )


IF = {"then_branch": _branch(), "else_branch": _branch()}
DEEP = _branch(
    node(
        "If",
        ["c"],
        ["way"],
        then_branch=_branch(),
        else_branch=_branch(node("Constant", [], ["way"], value=_outside())),
    )
)

# What is seen without running: a change of a sound model -> what is said
STATIC = {
    "external data": (lambda m: _external(m.graph.initializer[0]), "numbers in another file"),
    "a place outside, though the numbers are here": (
        lambda m: m.graph.initializer[0].external_data.add(key="location", value="/etc/passwd"),
        "numbers in another file",
    ),
    "external data in an attribute": (
        _with(node("Constant", [], ["far"], value=_outside())),
        "'Constant''s 'value' has its numbers in another file",
    ),
    "external data in a subgraph of a subgraph": (
        _with(node("If", ["c"], ["d"], then_branch=_branch(), else_branch=DEEP)),
        "'Constant''s 'value' has its numbers in another file",
    ),
    "external data in a function": (_function, "'value' has its numbers in another file"),
    "a function": (_function, "A function 'Mine' is defined"),
    "If": (_with(node("If", ["c"], ["d"], **IF)), "The operator 'If' is not allowed"),
    "a subgraph": (_with(node("Add", ["c"], ["d"], **IF)), "a graph inside the graph"),
    "Loop": (_with(node("Loop", ["", ""], ["d"], body=_branch())), "'Loop' is not allowed"),
    "Scan": (
        _with(node("Scan", ["x"], ["d"], body=_branch(), num_scan_inputs=1)),
        "'Scan' is not allowed",
    ),
    "a compiled context": (
        _with(node("EPContext", [], ["d"], domain="com.microsoft", ep_cache_context="/etc/x")),
        "The operator 'com.microsoft.EPContext' is of a domain that is not allowed",
    ),
    "a custom domain": (
        _with(node("Evil", [SEQUENCES], ["d"], domain="my.own")),
        "The operator 'my.own.Evil' is of a domain",
    ),
    "a custom domain imported": (_opset(1, "my.own"), "The domain 'my.own' is not allowed"),
    "chance": (_with(node("RandomNormal", [], ["d"], shape=[1])), "'RandomNormal' is not allowed"),
    "a name that forges a line": (
        _with(node('X\n{"level": "info"}', [], ["d"])),
        r"""The operator 'X\n{"level": "info"}' is not allowed""",
    ),
    "two operator sets": (_opset(21), "The operator sets are [20, 21]"),
    "a set of tomorrow": (
        lambda m: setattr(m.opset_import[0], "version", 99),
        "The operator sets are [99], not one of 17 to 25",
    ),
    "a set of yesterday": (
        lambda m: setattr(m.opset_import[0], "version", 7),
        "The operator sets are [7]",
    ),
    "an IR of yesterday": (lambda m: setattr(m, "ir_version", 3), "The IR version is 3"),
    "no IR": (lambda m: m.ClearField("ir_version"), "The IR version is 0"),
    "1 GiB that is not there": (_claim, "its shape says 268,435,456"),
    "a shape that overflows": (_overflow, "more than 1,000,000,000,000,000"),
    "a negative shape": (_minus, "has a negative dimension"),
    "a sparse bomb": (_sparse, "GraphProto field 15 is none"),
    "training inside": (_training, "ModelProto field 20 is none"),
    "text": (_text, "of a type that is not allowed"),
    "no card": (lambda m: m.ClearField("metadata_props"), "no 'model_card' entry"),
    "two cards": (_twice, "A key of the metadata is there twice"),
}

_W, _R = np.zeros((1, 3, 1), np.float32), np.zeros((1, 3, 1), np.float32)
_NONE = [
    node("Slice", [SEQUENCES, "start", "start", "start"], ["none"]),
    node("GRU", ["none", "w", "r"], ["y", "raw"], hidden_size=1),
]
_WRAP = [
    node("Mul", [LENGTHS, "zero"], ["zeros"]),
    node("Add", ["zeros", "least"], ["many"]),
    node("Div", ["many", "minus"], ["wrapped"]),
    node("Cast", ["wrapped"], ["raw"], to=FLOAT),
]
_LONG = [
    node("Tile", [SEQUENCES, "times"], ["row"]),
    node("Transpose", ["row"], ["column"], perm=[0, 2, 1]),
    node("MatMul", ["row", "column"], ["square"]),
    node("Identity", ["square"], ["square 0"]),
    *(node("MatMul", [f"square {i}", "square"], [f"square {i + 1}"]) for i in range(500)),
    node("Identity", ["square 500"], ["raw"]),
]
_LARGE = [
    node("Shape", [SEQUENCES], ["batch"], end=1),
    node("Concat", ["batch", "huge"], ["large"], axis=0),
    node("Expand", ["one", "large"], ["raw"]),
]
_FOLDED = [
    node("ConstantOfShape", ["huge"], ["zeros"]),
    node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
    node("Add", [SEQUENCES, "sum"], ["raw"]),
]
# Sound, and large: what a row needs grows with the square of its length.
SQUARE = [
    node("Transpose", [SEQUENCES], ["across"], perm=[0, 2, 1]),
    node("MatMul", ["zero", "across"], ["nothing"]),
    node("Add", [SEQUENCES, "nothing"], ["square"]),
    node("ReduceMax", ["square", "both"], ["largest"], keepdims=1),
    node("Mul", ["largest", "six"], ["raw"]),
]
SIX = {
    "zero": np.zeros((1, 1), np.float32),
    "both": np.array([1, 2]),
    "six": np.zeros((1, 1, 6), np.float32),
}
_50_GB = {"huge": np.array([12_500, 1_000_000])}  # of float32

# What a child finds by running -> what is said
DYNAMIC = {
    "the runtime aborts on nothing": (
        lambda: custom(_NONE, {"start": np.array([0]), "w": _W, "r": _R}),
        "ended by SIGABRT",
    ),
    "a number that no int64 holds": (
        lambda: custom(
            _WRAP, {"zero": np.array([0]), "least": np.array([-(2**63)]), "minus": np.array([-1])}
        ),
        "ended by SIGFPE",
    ),
    "50 GB asked for": (
        lambda: custom(_LARGE, {"one": np.zeros(1, np.float32)} | _50_GB),
        "self-check could not run the model: .*alloc",
    ),
    "50 GB made by folding constants": (lambda: custom(_FOLDED, _50_GB), "alloc"),
    "a card that says a row is endless": (
        lambda: custom([node("Identity", [SEQUENCES], ["raw"])], max_length=10**12),
        "needs more than the 512 MiB that a check may take",
    ),
    "it takes for ever": (
        lambda: custom(_LONG, {"times": np.array([1, 4_000, 1])}, max_length=1),
        "took more than 3 s",
    ),
}
