"""Collect rows into batches and run them in threads: the only module that owns runner threads."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from service.engine import blame
from service.engine.costs import Costs, Proportional
from service.engine.errors import EngineStopped, InferenceFailed
from service.engine.jobs import SPENT, Answer, Clock, Job, Row, Ticket, Timing
from service.engine.lanes import Lanes
from service.engine.observer import Observer
from service.engine.outcome import Outcome
from service.engine.scheduler import BatchPolicy

log = logging.getLogger(__name__)

# Seconds a batch may take on the event loop while the service is overloaded.
PROMPT = 0.002
AHEAD = 2  # batches of a large request per thread: one that runs, and the next one


class Runner(Protocol):
    """Turns rows into answers: ONNX Runtime in production, a function in tests."""

    def run(self, rows: Sequence[Row]) -> Sequence[Answer]:
        """Answer every row, in order; called from several threads at once."""


@dataclass(frozen=True, slots=True)
class Slots:
    """
    Where batches may run.

    ``share`` is this process's number of runner threads; the ``spare`` ones are used only by
    requests that fill more than one batch, which would otherwise leave processors idle.  A batch
    estimated to take at most ``inline_seconds`` runs on the event loop itself, without a
    hand-over: always if the share is one thread, else only if nothing else runs or waits.
    """

    share: int = 1
    spare: int = 0
    inline_seconds: float = 0.0

    @property
    def total(self) -> int:
        """The number of all runner threads."""
        return self.share + self.spare


class Batcher:
    """
    One model's queue and its runner threads.

    A batch is formed only when a thread is free, of whatever arrived while the last one ran, so
    there is no delay to tune.  Nothing polls and no task runs: a submission or the end of a batch
    starts the next one.  Call all methods on one event loop; only ``Runner.run`` is called from
    threads.
    """

    def __init__(  # noqa: PLR0913  one part each
        self,
        runner: Runner,
        policy: BatchPolicy | None = None,
        *,
        slots: Slots | None = None,
        costs: Costs | None = None,
        observer: Observer | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._runner = runner
        self._costs = costs or Proportional()
        policy = policy or BatchPolicy()
        self._enough = policy.max_batch_size
        self.slots = slots or Slots()
        self._scheduler = Lanes(policy, self._costs, self.slots.share)
        self._threads = ThreadPoolExecutor(self.slots.total, thread_name_prefix="runner")
        self._running = self._running_bulk = 0  # batches in threads; those of large requests
        self._observer = observer
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._dispatching = False  # whether a call of _dispatch is scheduled
        self._seen = 0  # sequences that waited at the last call of _gathers
        self._refusing = False
        self._idle: asyncio.Future[None] | None = None  # set while closing

    @property
    def ready(self) -> bool:
        """Whether a request made now would be served."""
        return not self._refusing

    @property
    def waiting(self) -> int:
        """The number of sequences in the queue."""
        return len(self._scheduler)

    @property
    def full(self) -> bool:
        """Whether any request made now would be refused for want of room."""
        return self._scheduler.full(self._clock())

    @property
    def _resting(self) -> bool:
        return not self._running and not self.waiting

    async def predict(
        self, rows: Sequence[Row], *, background: bool = False
    ) -> tuple[list[Answer], Timing]:
        """
        Answer rows in order; cancel to withdraw.  ``background`` runs only if no others wait.

        Raises EngineStopped, Overloaded or InferenceFailed.
        """
        if not rows:
            return [], Timing()
        told: asyncio.Future[None] = self._loop.create_future()

        def tell(_: Ticket) -> None:
            if not told.done():
                told.set_result(None)

        ticket = self.submit(rows, tell, background=background)
        try:
            await told
            if spent := SPENT.get():
                spent.add(ticket.timing)
            return ticket.result(), ticket.timing
        finally:  # also who is refused, failed or gone: what still waits waits for nobody
            self.release(ticket)

    def submit(
        self,
        rows: Sequence[Row],
        tell: Callable[[Ticket], None],
        *,
        background: bool = False,
    ) -> Ticket:
        """
        Queue a request of at least one row; ``tell`` is called with its ticket when it is done.

        Call ``release`` after that, or earlier to withdraw the request.
        Raises EngineStopped or Overloaded.
        """
        if self._refusing:
            raise EngineStopped
        now = self._clock()
        if self._resting:
            self._scheduler.begins(now)
        ticket = Ticket(rows, now, tell, background=background)
        self._scheduler.add(ticket.jobs, now)
        self._wake()
        return ticket

    def release(self, ticket: Ticket) -> None:
        """Withdraw what still waits of a request, and drop its answers."""
        if not ticket.answered:
            self._scheduler.discard(ticket.jobs)
            self._report_waiting()
        ticket.release()

    async def close(self) -> None:
        """Refuse new requests, finish those accepted, and end the threads."""
        self._refusing = True
        if not self._resting:
            self._idle = self._idle or self._loop.create_future()
            await asyncio.shield(self._idle)
        self._threads.shutdown(wait=False)

    def _wake(self) -> None:
        # Not at once: requests that arrive in the same turn of the loop share a batch.
        if not self._dispatching and self._running < AHEAD * self.slots.total:
            self._dispatching = True
            self._loop.call_soon(self._dispatch)

    def _gathers(self) -> bool:
        """Whether requests came since the last call, so that the next turn may bring more."""
        seen, self._seen = self._seen, self.waiting
        return seen < self.waiting < self._enough

    def _dispatch(self) -> None:
        if self._gathers():
            self._loop.call_soon(self._dispatch)
            return
        self._seen = 0
        self._dispatching = False
        batch: Sequence[Job] = ()
        sound = False
        try:
            self._report_waiting()
            while self._may_start(now := self._clock()):
                batch = self._scheduler.next_batch(max(1, self.slots.total - self._running), now)
                if self._runs_here(batch, now):
                    self._finish(batch, self._run(batch, now))
                    self._wake()  # after a turn of the loop, to write the answers and read on
                    break
                self._start(batch, now)
            self._report_waiting()
            sound = True
        finally:
            if not sound:  # no thread could start, or a bug: nobody may be left waiting
                self._die(batch)
            if self._idle and not self._idle.done() and self._resting:
                self._idle.set_result(None)

    def _may_start(self, now: float) -> bool:
        """
        Whether a request waits, and the oldest one may start a batch now.

        A request of many batches may hold one more than runs for each thread, so that no thread
        waits for the event loop between two of them.
        """
        leader = self._scheduler.leader(now)
        if leader is None:
            return False
        if self._is_bulk(leader):
            return self._running < AHEAD * self.slots.total
        small = self._running - self._running_bulk
        return self._running < self.slots.total and small < self.slots.share

    def _is_bulk(self, job: Job) -> bool:
        ticket = job.ticket  # background requests get no spare threads and no batch in advance
        return not ticket.background and len(ticket.jobs) > self._scheduler.useful_size(job.length)

    def _runs_here(self, batch: Sequence[Job], now: float) -> bool:
        limit = self.slots.inline_seconds
        if self._scheduler.overloaded(now):
            limit = min(limit, PROMPT)
        if not limit or batch[0].ticket.background or self._is_bulk(batch[0]):
            return False  # these may take a while
        if self.slots.share > 1 and (self._running or self.waiting):
            return False
        return self._costs.seconds(len(batch), max(job.length for job in batch)) <= limit

    def _start(self, batch: Sequence[Job], now: float) -> None:
        bulk = self._is_bulk(batch[0])
        self._threads.submit(self._execute, batch, now, bulk)
        self._running += 1
        self._running_bulk += bulk

    def _execute(self, batch: Sequence[Job], taken_at: float, bulk: bool) -> None:  # noqa: FBT001
        """Run a batch in a runner thread, and pass its outcome to the loop whatever happens."""
        ended = RuntimeError("The runner thread ended.")
        outcome = Outcome([ended] * len(batch), taken_at, taken_at, 0.0)
        try:
            outcome = self._run(batch, taken_at)
        finally:
            self._loop.call_soon_threadsafe(self._ended, batch, outcome, bulk)

    def _run(self, batch: Sequence[Job], taken_at: float) -> Outcome:
        started_at = self._clock()
        said = blame.answers(self._runner.run, batch)
        return Outcome(said, taken_at, started_at, self._clock() - started_at)

    def _ended(self, batch: Sequence[Job], outcome: Outcome, bulk: bool) -> None:  # noqa: FBT001
        self._running -= 1
        self._running_bulk -= bulk
        try:
            self._finish(batch, outcome)
        finally:  # an observer that raises must not leave those who wait without a batch
            self._dispatch()

    def _finish(self, batch: Sequence[Job], outcome: Outcome) -> None:
        said, taken_at, _, seconds = outcome
        size = len(batch)
        failures: dict[Ticket, Exception] = {}
        for job, answer in zip(batch, said, strict=True):
            if isinstance(answer, Exception):
                failures[job.ticket] = answer
            else:
                queue = taken_at - job.enqueued_at
                job.ticket.resolve(job.index, answer, queue, seconds, size)
        if failures:
            _fail(failures, size)
        self._scheduler.ran(batch, self._clock())
        if self._observer:
            self._observer.on_batch(outcome.report(batch))

    def _die(self, taken: Sequence[Job]) -> None:
        self._refusing = True
        log.critical("The batcher failed; it refuses work from now on.")
        for job in (*taken, *self._scheduler.drain()):
            job.ticket.fail(EngineStopped())

    def _report_waiting(self) -> None:
        if self._observer:
            self._observer.on_waiting(self.waiting)


def _fail(failures: Mapping[Ticket, Exception], size: int) -> None:
    first = next(iter(failures.values()))
    log.error("A batch of %d failed for %d requests.", size, len(failures), exc_info=first)
    for ticket, cause in failures.items():
        error = InferenceFailed()
        error.__cause__ = cause
        ticket.fail(error)
