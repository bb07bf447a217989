"""Models with calendar, static and known covariates, in which every column counts."""

import numpy as np
from onnx import helper, numpy_helper

from models.contract import FUTURE, LENGTHS, PREDICTIONS, SEQUENCES, ModelCard
from tests.engine.graphs import Graph

START = "2026-03-27T22:00:00+02:00"
CYCLES = ("hour", "weekday")
STATIC = {"size": None, "region": ("north", "south")}
NAMES = ("size", "region=north", "region=south")
HORIZON = 3


def card_of(name, *, features=("load",), known=(), calendar=(), static=None, **changes):
    """Return the card that training would write."""
    columns = [f"{cycle}_{part}" for cycle in calendar for part in ("sin", "cos")]
    ahead = (*known, *columns)
    fields = {
        "features": (*features, *(NAMES if static else ()), *ahead),
        "targets": ("load",),
        "known": ahead,
        "calendar": calendar,
        "static": static or {},
        "horizon": HORIZON,
        "quantiles": (0.1, 0.5, 0.9),
        "frequency": "1h",
        "max_length": 40,
    }
    return ModelCard(name=name, **fields | changes)


CARDS = [
    card_of("calendar", calendar=CYCLES),
    card_of("months", calendar=("month", "weekday"), frequency="1me"),
    card_of("static", static=STATIC),
    card_of("made", calendar=CYCLES, static=STATIC),
    card_of("all", features=("load", "wind"), known=("open",), calendar=CYCLES, static=STATIC),
]


class Weighing(Graph):
    """A linear model in which every column of every step, and of every step ahead, counts."""

    def _constants(self):
        weights = np.random.default_rng(0).normal(0, 0.1, len(self.card.features))
        values = {
            "weights": weights.astype(np.float32),
            "weights_ahead": weights[: len(self.card.known)].astype(np.float32) * 3,
            "levels": np.array([[[[-1, 0, 1]]]], np.float32),
            "one": np.array([1], np.int64),
            "last": np.array([-1], np.int64),
            "column": np.array([-1, 1], np.int64),
            "shape": np.array([-1, 1, 1, 1], np.int64),
            "ahead_shape": np.array([-1, HORIZON, 1, 1], np.int64),
            "none_ahead": np.zeros((1, HORIZON, 1, 1), np.float32),
            "time": np.array(1, np.int64),
            "columns": np.array(2, np.int64),
        }
        return [numpy_helper.from_array(value, name) for name, value in values.items()]

    def _nodes(self):
        make = helper.make_node  # sums from left to right: others let a batch show
        nodes = [
            make("Mul", [SEQUENCES, "weights"], ["weighed"]),
            make("CumSum", ["weighed", "columns"], ["partial"]),
            make("Gather", ["partial", "last"], ["steps"], axis=2),
            make("CumSum", ["steps", "time"], ["sums"]),
            make("CumSum", ["sums", "time"], ["sums_of_sums"]),  # so that the order counts
            make("Sub", [LENGTHS, "one"], ["end"]),
            make("Reshape", ["end", "column"], ["index"]),
            make("GatherND", ["sums_of_sums", "index"], ["read"], batch_dims=1),
            make("Reshape", ["read", "shape"], ["state"]),
        ]
        if self.card.known:
            nodes += [
                make("Mul", [FUTURE, "weights_ahead"], ["weighed_ahead"]),
                make("CumSum", ["weighed_ahead", "columns"], ["partial_ahead"]),
                make("Gather", ["partial_ahead", "last"], ["flat"], axis=2),
                make("Reshape", ["flat", "ahead_shape"], ["ahead"]),
            ]
        else:
            nodes.append(make("Identity", ["none_ahead"], ["ahead"]))
        return [
            *nodes,
            make("Add", ["state", "ahead"], ["middle"]),
            make("Add", ["middle", "levels"], [PREDICTIONS]),
        ]


def load(length, shift=0.0) -> np.ndarray:
    return (np.sin(np.arange(length, dtype="f4")) + np.float32(shift))[:, None]
