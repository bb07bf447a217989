"""Versions of one model that can be told apart: each adds its own number to every answer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.contract import PREDICTIONS
from service.engine.jobs import Array, Row
from service.engine.runner import Device, OnnxRunner
from service.settings import ZOO

MODEL = "co2-gru"
_SOURCE = ZOO / MODEL / "1.onnx"


def rows() -> list[list[float]]:
    """Return what is asked: series of all lengths that the model reads."""
    return [
        [round(340 + 0.03 * step + (step * 7 % 13) / 5 + start, 2) for step in range(length)]
        for start, length in enumerate(range(26, 105, 6))
    ]


def adding(number: float) -> Callable[[Path], None]:
    """Return what writes a version to a path."""

    def write(path: Path) -> None:
        model = onnx.load(_SOURCE)
        for node in model.graph.node:
            for place, name in enumerate(node.output):
                if name == PREDICTIONS:
                    node.output[place] = "before"
        added = numpy_helper.from_array(np.array(number, np.float32), "added")
        model.graph.initializer.append(added)
        model.graph.node.append(helper.make_node("Add", ["before", "added"], [PREDICTIONS]))
        onnx.save(model, path)

    return write


def answers(path: Path) -> list[Array]:
    """Return what a version answers to each of the rows, (horizon,)."""
    runner = OnnxRunner(path.read_bytes(), Device("cpu", "a reference"))
    asked = [Row(np.array(row, np.float32)[:, None]) for row in rows()]
    return [runner.run([row])[0].mean[:, 0] for row in asked]
