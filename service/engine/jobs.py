"""A job: one sequence waiting for its answer; and the ticket its request waits on."""

import logging
import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Array = NDArray[np.float32]
Clock = Callable[[], float]

# The deadline of the current request by the engine's clock: no batch starts for it later.
EXPIRES: ContextVar[float] = ContextVar("expires", default=math.inf)
# The origin of the current request, which the engine passes on to observers as it is.
ORIGIN: ContextVar[object] = ContextVar("origin", default=None)


@dataclass(slots=True, eq=False)
class Row:
    """What is asked for one sequence; not changed once made."""

    sequence: Array  # (time, features); NaN is a missing value
    future: Array | None = None  # (horizon, known)
    explain: bool = False  # whether the attention weights are wanted
    state: Array | None = None  # (size,): the state after earlier steps; None: there are none
    carry: bool = False  # whether the state after the sequence is wanted


@dataclass(slots=True, eq=False)
class Answer:
    """The model's answer to one row; not changed once it is handed over."""

    predictions: Array  # (horizon, targets, quantiles), or (classes,)
    mean: Array  # (horizon, targets); of a classifier empty
    attention: Array | None = None  # (time,)
    finite: bool = True  # whether no prediction is infinite or not a number
    state: Array | None = None  # (size,): after the last step; None unless the row carries


class Timing(NamedTuple):
    """Where a request's time in the engine went, in seconds; of its slowest sequence."""

    queue: float = 0.0
    compute: float = 0.0
    batch: int = 0  # sequences in the largest of its batches


class Spent:
    """Where the time of all went that one caller asked, one thing after the other."""

    __slots__ = ("_total",)

    def __init__(self) -> None:
        self._total = Timing()

    @property
    def timing(self) -> Timing | None:
        """The sums, and the largest batch; None if nothing was asked."""
        return self._total if self._total.batch else None

    def add(self, timing: Timing) -> None:
        queue, compute, batch = self._total
        largest = max(batch, timing.batch)
        self._total = Timing(queue + timing.queue, compute + timing.compute, largest)


# Who adds up what is asked from here; None: nobody.
SPENT: ContextVar[Spent | None] = ContextVar("spent", default=None)


class Ticket:
    """
    The answers of one request, in the order asked.

    ``tell`` is called with the ticket once, on the event loop, when the request was answered or
    has failed; never after ``release``.  A ticket that is done with must be released: it and its
    jobs refer to each other, and would keep their rows until the garbage collector runs.
    """

    __slots__ = (
        "_answers",
        "_batch",
        "_compute",
        "_error",
        "_missing",
        "_queue",
        "_tell",
        "background",
        "expires",
        "jobs",
        "origin",
        "over",
    )

    def __init__(
        self,
        rows: Sequence[Row],
        now: float,
        tell: Callable[["Ticket"], None],
        *,
        background: bool = False,
    ) -> None:
        self._answers: list[Answer] = [_NONE] * len(rows)
        self._missing = len(rows)
        self._queue = self._compute = 0.0
        self._batch = 0
        self._error: Exception | None = None
        self._tell = tell
        self.origin = ORIGIN.get()
        self.background = background  # whether it runs only if no others wait
        self.expires = EXPIRES.get()
        self.over = False  # answered, failed or released
        self.jobs = [Job(row, self, index, now) for index, row in enumerate(rows)]

    @property
    def timing(self) -> Timing:
        """The timing of the rows answered so far."""
        return Timing(self._queue, self._compute, self._batch)

    @property
    def answered(self) -> bool:
        """Whether every row has its answer, so that none of its jobs still waits."""
        return not self._missing

    def result(self) -> list[Answer]:
        """Return the answers, or raise what the request failed with; call it after ``tell``."""
        if self._error is not None:
            raise self._error
        return self._answers

    def resolve(self, index: int, answer: Answer, queue: float, compute: float, batch: int) -> None:
        """
        Keep one row's answer, its seconds, and the size of its batch.

        The last one completes the request.
        """
        self._answers[index] = answer
        self._missing -= 1
        self._queue = max(self._queue, queue)
        self._compute = max(self._compute, compute)
        self._batch = max(self._batch, batch)
        if not self._missing:
            self._end()

    def fail(self, error: Exception) -> None:
        """Fail the whole request with an error, unless it is over."""
        if not self.over:
            self._error = error
            self._end()

    def release(self) -> None:
        """Drop the jobs and their rows; ``tell`` is not called any more."""
        self.over = True
        self.jobs = []

    def _end(self) -> None:
        if self.over:
            return
        self.over = True
        try:
            self._tell(self)
        except Exception:
            # A bug of one caller: the others of its batch must have their answers.
            log.exception("A request could not be told its answer.")


class Job:
    """One row of a request on its way through the engine."""

    __slots__ = ("enqueued_at", "index", "length", "row", "ticket", "work")

    def __init__(self, row: Row, ticket: Ticket, index: int, enqueued_at: float) -> None:
        self.row = row
        self.ticket = ticket
        self.index = index
        self.enqueued_at = enqueued_at
        self.length = len(row.sequence)
        self.work = 0.0  # estimated seconds that it counts for in the backlog

    def abandoned(self, now: float) -> bool:
        """Whether nobody would read the answer: the request is over, or past its deadline."""
        ticket = self.ticket
        return ticket.over or ticket.expires <= now


_NONE = Answer(np.empty((0, 0, 0), np.float32), np.empty((0, 0), np.float32))
