"""A job: one sequence waiting for its answer; and the ticket its request waits on."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What a caller asks for one sequence."""

    sequence: Array  # (time, features); NaN is a missing value
    future: Array | None = None  # (horizon, known)
    explain: bool = False  # whether the attention weights are wanted


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the model says about one row."""

    predictions: Array  # (horizon, targets, quantiles)
    attention: Array | None = None  # (time,)


@dataclass(frozen=True, slots=True)
class Timing:
    """Where a request's time in the engine went, in seconds; of its slowest sequence."""

    queue: float = 0.0
    compute: float = 0.0


class Ticket:
    """
    The answers of one request, in the order asked, behind one future.

    A caller may leave at any moment: a dropped connection and an expired deadline both arrive
    here as a cancelled future.  Only this class completes it, and tolerates its absence.
    """

    __slots__ = ("_answers", "_missing", "future", "timing")

    def __init__(self, size: int) -> None:
        self._answers: list[Answer | None] = [None] * size
        self._missing = size
        self.future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self.timing = Timing()

    def resolve(self, index: int, answer: Answer, timing: Timing) -> None:
        """Keep one row's answer; the last one completes the request."""
        self._answers[index] = answer
        self._missing -= 1
        self.timing = Timing(
            max(self.timing.queue, timing.queue), max(self.timing.compute, timing.compute)
        )
        if self._missing == 0 and not self.future.done():
            self.future.set_result([answer for answer in self._answers if answer is not None])

    def fail(self, error: Exception) -> None:
        """Answer the whole request with an error, unless it has its answer already."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Job:
    """One row of a request on its way through the engine."""

    row: Row
    ticket: Ticket
    index: int
    enqueued_at: float
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.length = len(self.row.sequence)

    @property
    def abandoned(self) -> bool:
        """Whether nobody would read the answer: the caller left, or a batch-mate failed."""
        return self.ticket.future.done()


def jobs_of(rows: Sequence[Row], now: float) -> tuple[Ticket, list[Job]]:
    """Make the jobs of one request and the ticket they share."""
    ticket = Ticket(len(rows))
    return ticket, [Job(row, ticket, index, now) for index, row in enumerate(rows)]
