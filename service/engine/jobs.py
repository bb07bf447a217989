"""A job: one sequence waiting for its answer; and the ticket its request waits on."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Clock = Callable[[], float]


@dataclass(slots=True, eq=False)
class Row:
    """What a caller asks for one sequence; never changed once made."""

    sequence: Array  # (time, features); NaN is a missing value
    future: Array | None = None  # (horizon, known)
    explain: bool = False  # whether the attention weights are wanted


@dataclass(slots=True, eq=False)
class Answer:
    """What the model says about one row; never changed once made."""

    predictions: Array  # (horizon, targets, quantiles)
    mean: Array  # (horizon, targets)
    attention: Array | None = None  # (time,)
    finite: bool = True  # whether no prediction is infinite or not a number


@dataclass(frozen=True, slots=True)
class Timing:
    """Where a request's time in the engine went, in seconds; of its slowest sequence."""

    queue: float = 0.0
    compute: float = 0.0


class Ticket:
    """
    The answers of one request, in the order asked, behind one future.

    A caller may leave at any moment: a dropped connection and an expired deadline both arrive
    here as a cancelled future.  Only this class completes it, and tolerates its absence.  Who
    is done with it calls ``release``: a ticket and its jobs know each other, and their rows
    would stay until Python looks for cycles.
    """

    __slots__ = ("_answers", "_compute", "_missing", "_queue", "future", "jobs")

    def __init__(self, rows: Sequence[Row], now: float, loop: asyncio.AbstractEventLoop) -> None:
        self._answers: list[Answer] = [_NONE] * len(rows)
        self._missing = len(rows)
        self._queue = self._compute = 0.0
        self.future: asyncio.Future[list[Answer]] = loop.create_future()
        self.jobs = [Job(row, self, index, now) for index, row in enumerate(rows)]

    @property
    def timing(self) -> Timing:
        """Where the time went so far."""
        return Timing(self._queue, self._compute)

    def resolve(self, index: int, answer: Answer, queue: float, compute: float) -> None:
        """Keep one row's answer and its seconds; the last one completes the request."""
        self._answers[index] = answer
        self._missing -= 1
        self._queue = max(self._queue, queue)
        self._compute = max(self._compute, compute)
        if self._missing == 0 and not self.future.done():
            self.future.set_result(self._answers)

    def release(self) -> None:
        """Let the jobs and their rows go."""
        self.jobs = []

    def fail(self, error: Exception) -> None:
        """Answer the whole request with an error, unless it has its answer already."""
        if not self.future.done():
            self.future.set_exception(error)


class Job:
    """One row of a request on its way through the engine."""

    __slots__ = ("enqueued_at", "index", "length", "row", "ticket")

    def __init__(self, row: Row, ticket: Ticket, index: int, enqueued_at: float) -> None:
        self.row = row
        self.ticket = ticket
        self.index = index
        self.enqueued_at = enqueued_at
        self.length = len(row.sequence)

    @property
    def abandoned(self) -> bool:
        """Whether nobody would read the answer: the caller left, or a batch-mate failed."""
        return self.ticket.future.done()


_NONE = Answer(np.empty((0, 0, 0), np.float32), np.empty((0, 0), np.float32))
