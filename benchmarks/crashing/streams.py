"""Streams as their clients know them: what was sent, and what was acknowledged; no I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

Forecast = NDArray[np.float32]  # (horizon, 1 + levels): the mean, and each quantile


class Fault(Exception):
    """An answer that breaks the promise: a step lost, doubled or wrong."""


@dataclass(slots=True, eq=False)
class Stream:
    """A session, every payload it was sent, and the answer to each acknowledged step."""

    session: str
    model: str
    draw: Callable[[], list[float]]
    payloads: list[list[float]] = field(default_factory=list)
    answers: list[Forecast | None] = field(default_factory=list)
    last: bytes = b""  # the body of the last answer
    count: int = 0  # inputs of all acknowledged steps
    replays: int = 0  # steps that were stored, though nobody had heard so

    @property
    def number(self) -> int:
        """The next step."""
        return len(self.answers) + 1

    @property
    def payload(self) -> list[float]:
        """What the next step brings, as often as it is asked for."""
        if len(self.payloads) < self.number:
            self.payloads.append(self.draw())
        return self.payloads[-1]

    def acknowledge(self, body: bytes, *, replayed: bool) -> None:
        """Take the answer to the next step; raise Fault unless it is that step's."""
        answer, count = orjson.loads(body), self.count + len(self.payload)
        told = answer["session"], answer["step"], answer["count"]
        if told != (self.session, self.number, count):
            raise Fault(f"step {self.number} with {count} inputs was answered {told}")
        self.answers.append(forecast(answer["prediction"]))
        self.count, self.last = count, body
        self.replays += replayed

    def repeat(self, body: bytes, *, replayed: bool) -> None:
        """Take the answer to the last step again; raise Fault unless it is the same, stored one."""
        if body != self.last or not replayed:
            raise Fault(f"step {self.number - 1} again: {body!r} after {self.last!r}")

    def stands(self, step: int, count: int) -> None:
        """Raise Fault unless the session stands where its acknowledged steps have put it."""
        if (step, count) != (len(self.answers), self.count):
            raise Fault(
                f"{self.session} stands at step {step}, {count} inputs; acknowledged were "
                f"{len(self.answers)}, {self.count}"
            )


def forecast(prediction: dict[str, Any] | None) -> Forecast | None:
    """Return the numbers of a forecast of one target, in the bits that the service had."""
    if prediction is None:
        return None
    columns = [prediction["mean"], *prediction["quantiles"].values()]
    return np.array(columns, np.float32).T
