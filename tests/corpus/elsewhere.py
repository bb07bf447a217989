"""Rows for models that take other numbers, fail or cannot be loaded, on every route of numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.corpus.routes import FAILING, GRU, PLAIN, SESSION, STEPS, STREAM, VALUES, Taker
from tests.corpus.rows import UNFIT, Row
from tests.engine.graphs import INT64
from tests.engine.vetting.hostile import custom, node
from tests.http.inprocess import ATTENTION

RAISING, BROKEN = "raising", "broken"
_NAME = '\n{"event":"forged"}\n\x1b[31m'  # of nodes, which the runtime repeats where one fails


def publish(folder: Path) -> dict[str, str]:
    """
    Write a model that fails at numbers over a million, and one that is none.

    Return the place of a session, and the model that it is of.
    """
    for name, content in ((RAISING, _raising()), (BROKEN, b"no model")):
        (folder / name).mkdir()
        (folder / name / "1.onnx").write_bytes(content)
    return {FAILING: RAISING}


def _raising() -> bytes:
    nodes = [
        node("ReduceMax", ["sequences", "axes"], ["most"], keepdims=1),
        node("Greater", ["most", "million"], ["past"]),
        node("Cast", ["past"], ["index"], to=INT64),
        node("Gather", ["table", "index"], ["found"]),  # which has one row
        node("Reshape", ["found", "rows"], ["raw"]),
    ]
    for number, each in enumerate(nodes):
        each.name = f"{number}{_NAME}"
    constants = {
        "axes": np.array([1, 2]),
        "million": np.array(1e6, np.float32),
        "table": np.zeros((1, 6), np.float32),
        "rows": np.array([-1, 6]),
    }
    return custom(nodes, constants, name=RAISING)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another model, what it is sent, and a session of its own."""

    model: str
    values: str
    word: str  # of its frequency
    horizon: int
    session: str

    def body(self, taker: Taker) -> bytes:
        body = taker.body
        for old, new in {
            VALUES.decode(): self.values,
            f"[1, {STEPS}, 1]": f"[1, {self.values.count(',') + 1}, 1]",
            GRU: self.model,
            '"week"': f'"{self.word}"',
            '"horizon": 13': f'"horizon": {self.horizon}',
            SESSION: self.session,
        }.items():
            body = body.replace(old.encode(), new.encode())
        return body

    def path(self, taker: Taker) -> str:
        path = taker.path.replace(GRU, self.model).replace(STREAM, self.model)
        return path.replace(SESSION, self.session)


def _reads_numbers(taker: Taker) -> bool:
    return VALUES in taker.body and taker.method != "WS"


def _is_of_no_session(taker: Taker) -> bool:
    return _reads_numbers(taker) and "{id}" not in taker.template


def _place(taker: Taker) -> str:
    return f"{taker.place}[12]" if taker.place else "sequences[0][12][0]"


def _row(  # noqa: PLR0917  as a Row has them
    name: str,
    elsewhere: Elsewhere,
    status: int,
    kind: str | tuple[str, ...],
    says: Callable[[Taker], str],
    answers: str = "",
    fits: Callable[[Taker], bool] = _reads_numbers,
) -> Row:
    return Row(name, elsewhere.body, status, kind, {}, says, answers, fits, elsewhere.path)


_GAP = Elsewhere(
    ATTENTION, str([24.5] * 12 + [None] + [25.5] * 11).replace("None", "null"), "month", 6, PLAIN
)
ROWS = [
    _row(
        "null where a value must be",
        _GAP,
        422,
        UNFIT,
        lambda it: f"{_place(it)}: a missing value",
    ),
    _row(
        "a model that fails",
        Elsewhere(RAISING, "[2e6, 1.0, 3.0]", "hour", 2, FAILING),
        500,
        "model-error",
        lambda _: "The model failed",
    ),
    _row(
        "a model that cannot be loaded",
        Elsewhere(BROKEN, "[1.0]", "hour", 1, SESSION),
        503,
        "model-unavailable",
        lambda _: "Version 1 of 'broken' could not be loaded",
        "retry-after",
        _is_of_no_session,
    ),
]
