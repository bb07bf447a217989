"""Small ONNX files made by hand, sound ones and broken ones, without a network or torch."""

from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from models.contract import (
    FUTURE,
    LENGTHS,
    NEXT_STATE,
    PREDICTIONS,
    SEQUENCES,
    STATE,
    ModelCard,
    StateKind,
    StateSpec,
)

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64


def card(**changes) -> ModelCard:
    fields = {
        "name": "small",
        "features": ("load",),
        "targets": ("load",),
        "horizon": 2,
        "quantiles": (0.1, 0.5, 0.9),
        "frequency": "1h",
        "max_length": 24,
    }
    return ModelCard(**fields | changes)


@dataclass
class Graph:
    """A model that repeats the last valid value of the first feature, or is broken on request."""

    card: ModelCard = field(default_factory=card)
    metadata: dict | None = None  # None: the card
    inputs: dict = field(default_factory=dict)  # name -> (type, shape), or None to leave it out
    outputs: tuple = (PREDICTIONS,)
    bias: float = 0.0  # added to every answer
    leak: float = 0.0  # how much of the batch's largest value gets into every row
    horizon: int | None = None  # None: what the card says

    def write(self, path):
        model = helper.make_model(
            helper.make_graph(
                self._nodes(),
                "repeat",
                [helper.make_tensor_value_info(n, *s) for n, s in self._inputs().items() if s],
                [helper.make_tensor_value_info(n, FLOAT, None) for n in self.outputs],
                self._constants(),
            ),
            opset_imports=[helper.make_opsetid("", 20)],
            ir_version=9,
        )
        metadata = self.card.to_metadata() if self.metadata is None else self.metadata
        helper.set_model_props(model, metadata)
        path.write_bytes(model.SerializeToString())

    def _inputs(self):
        features, known, horizon = len(self.card.features), len(self.card.known), self.card.horizon
        sound = {
            SEQUENCES: (FLOAT, ["batch", "time", features]),
            LENGTHS: (INT64, ["batch"]),
        }
        if known:
            sound[FUTURE] = (FLOAT, ["batch", horizon, known])
        return sound | self.inputs

    def _constants(self):
        _, targets, quantiles = self.card.answer_shape
        horizon = self.horizon or self.card.horizon
        values = {
            "one": np.array([1], np.int64),
            "column": np.array([-1, 1], np.int64),
            "first": np.array([0], np.int64),
            "shape": np.array([-1, 1, 1, 1], np.int64),
            "bias": np.full((1, horizon, targets, quantiles), self.bias, np.float32),
            "leak": np.array(self.leak, np.float32),
        }
        return [numpy_helper.from_array(value, name) for name, value in values.items()]

    def _nodes(self):
        make, given = helper.make_node, self._inputs()
        if not given[SEQUENCES] or not given[LENGTHS] or not given[SEQUENCES][1]:
            return [make("Identity", ["bias"], [name]) for name in self.outputs]
        return [
            make("Cast", [SEQUENCES], ["values"], to=FLOAT),
            make("Cast", [LENGTHS], ["steps"], to=INT64),
            make("Sub", ["steps", "one"], ["end"]),
            make("Reshape", ["end", "column"], ["index"]),
            make("GatherND", ["values", "index"], ["last"], batch_dims=1),
            make("Gather", ["last", "first"], ["load"], axis=1),
            make("ReduceMax", ["load"], ["largest"], keepdims=0),
            make("Mul", ["largest", "leak"], ["leaked"]),
            make("Add", ["load", "leaked"], ["said"]),
            make("Reshape", ["said", "shape"], ["tall"]),
            *(make("Add", ["tall", "bias"], [name]) for name in self.outputs),
        ]


def streaming_card(**changes) -> ModelCard:
    """Return the card of ``SumGraph``: one state, what was summed so far."""
    state = StateSpec(kind=StateKind.RECURRENT, tensors={"sum": (1,)})
    return card(state=state, missing_values=True, **changes)


@dataclass
class SumGraph:
    """A model that forecasts the sum of all its stream has brought; a missing value is none."""

    card: ModelCard = field(default_factory=streaming_card)
    outputs: tuple = (PREDICTIONS, NEXT_STATE + "sum")
    width: int = 1  # of the state; the card says 1

    def write(self, path):
        inputs = {
            SEQUENCES: (FLOAT, ["batch", "time", 1]),
            LENGTHS: (INT64, ["batch"]),
            STATE + "sum": (FLOAT, ["batch", self.width]),
        }
        model = helper.make_model(
            helper.make_graph(
                self._nodes(),
                "sum",
                [helper.make_tensor_value_info(n, *s) for n, s in inputs.items()],
                [helper.make_tensor_value_info(n, FLOAT, None) for n in self.outputs],
                self._constants(),
            ),
            opset_imports=[helper.make_opsetid("", 20)],
            ir_version=9,
        )
        helper.set_model_props(model, self.card.to_metadata())
        path.write_bytes(model.SerializeToString())

    def _constants(self):
        _, targets, quantiles = self.card.answer_shape
        values = {
            "zero": np.array(0, np.int64),
            "one": np.array(1, np.int64),
            "time_axis": np.array([1], np.int64),
            "nothing": np.array(0, np.float32),
            "tall": np.array([-1, 1, 1, 1], np.int64),
            "wide": np.ones((1, self.card.horizon, targets, quantiles), np.float32),
            "right": np.array([1], np.int64),
            "two": np.array([2], np.int64),
        }
        return [numpy_helper.from_array(value, name) for name, value in values.items()]

    def _nodes(self):
        make = helper.make_node
        return [
            make("Shape", [SEQUENCES], ["steps"], start=1, end=2),
            make("Squeeze", ["steps"], ["time"]),
            make("Range", ["zero", "time", "one"], ["places"]),
            make("Unsqueeze", [LENGTHS, "right"], ["ends"]),
            make("Less", ["places", "ends"], ["early"]),
            make("Squeeze", [SEQUENCES, "two"], ["values"]),
            make("IsNaN", ["values"], ["missing"]),
            make("Not", ["missing"], ["observed"]),
            make("And", ["early", "observed"], ["valid"]),
            make("Where", ["valid", "values", "nothing"], ["counted"]),
            # In double, so that no padding around a row is seen in its sum.
            make("Cast", ["counted"], ["exact"], to=DOUBLE),
            make("ReduceSum", ["exact", "time_axis"], ["found"], keepdims=1),
            make("Cast", ["found"], ["brought"], to=FLOAT),
            make("Add", ["brought", STATE + "sum"], [NEXT_STATE + "sum"]),
            make("Reshape", [NEXT_STATE + "sum", "tall"], ["said"]),
            make("Mul", ["said", "wide"], [PREDICTIONS]),
        ]
