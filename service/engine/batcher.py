"""Feed the runner threads with batches: the only module that owns threads."""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from service.engine.errors import EngineStopped, InferenceFailed
from service.engine.jobs import Answer, Clock, Job, Row, Ticket, Timing, jobs_of
from service.engine.scheduler import BatchPolicy, Scheduler

log = logging.getLogger(__name__)


class Runner(Protocol):
    """Turns rows into answers: ONNX Runtime in production, a function in tests."""

    def run(self, rows: Sequence[Row]) -> Sequence[Answer]:
        """Answer every row, in order; called from several threads at once."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one batch was and cost."""

    size: int
    steps: int  # valid time steps
    padded_steps: int  # time steps after padding
    seconds: float
    failed: bool


class Observer(Protocol):
    """Hears of every batch and of every change of the queue, on the event loop."""

    def on_batch(self, report: BatchReport) -> None:
        """Hear of a batch that ended."""

    def on_waiting(self, waiting: int) -> None:
        """Hear how many sequences wait."""


class Batcher:
    """
    One model's waiting room and its runner threads.

    A free slot first, a batch second: a batch is whatever arrived while the last one ran.
    Nothing polls and no task runs: a submission or a finished batch starts the next one.
    All methods belong to one event loop; only ``Runner.run`` is called from threads.
    """

    def __init__(
        self,
        runner: Runner,
        policy: BatchPolicy | None = None,
        *,
        slots: int = 1,
        observer: Observer | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._runner = runner
        self._scheduler = Scheduler(policy or BatchPolicy())
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="runner")
        self._slots = self._free = slots
        self._observer = observer
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._dispatching = False  # whether a dispatch is already on the loop's agenda
        self._refusing = False
        self._idle: asyncio.Future[None] | None = None  # set while closing

    @property
    def ready(self) -> bool:
        """Whether a request made now would be served."""
        return not self._refusing

    @property
    def waiting(self) -> int:
        """How many sequences wait."""
        return len(self._scheduler)

    @property
    def _resting(self) -> bool:
        return self._free == self._slots and not self.waiting

    async def predict(self, rows: Sequence[Row]) -> tuple[list[Answer], Timing]:
        """
        Answer rows in order; cancel to leave.

        Raises EngineStopped, Overloaded or InferenceFailed.
        """
        if self._refusing:
            raise EngineStopped
        if not rows:
            return [], Timing()
        ticket, jobs = jobs_of(rows, self._clock())
        self._scheduler.add(jobs)
        self._report_waiting()
        self._wake()
        try:
            return await ticket.future, ticket.timing
        except BaseException:  # refused, failed or gone: what still waits waits for nobody
            self._scheduler.discard(jobs)
            self._report_waiting()
            raise

    async def close(self) -> None:
        """Refuse newcomers, finish what was accepted, and let the threads go."""
        self._refusing = True
        if not self._resting:
            self._idle = self._idle or self._loop.create_future()
            await asyncio.shield(self._idle)
        self._threads.shutdown(wait=False)

    def _wake(self) -> None:
        # At the end of this turn of the loop: what arrived together leaves together.
        if self._free and not self._dispatching:
            self._dispatching = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        batch: Sequence[Job] = ()
        sound = False
        try:
            while self._free and (batch := self._scheduler.next_batch()):
                self._threads.submit(self._execute, batch, self._clock())
                self._free -= 1
            self._report_waiting()
            sound = True
        finally:
            if not sound:  # no thread, or a defect of ours: nobody may be left waiting for it
                self._die(batch)
            if self._idle and not self._idle.done() and self._resting:
                self._idle.set_result(None)

    def _execute(self, batch: Sequence[Job], taken_at: float) -> None:
        """Run one batch in a runner thread, and hand its outcome to the loop whatever happens."""
        outcome: Sequence[Answer] | Exception = RuntimeError("The runner thread ended.")
        started_at = self._clock()
        try:
            outcome = self._runner.run([job.row for job in batch])
            if len(outcome) != len(batch):
                outcome = RuntimeError(f"{len(batch)} rows got {len(outcome)} answers.")
        except Exception as exc:  # noqa: BLE001  whatever a runner raises fails its batch only
            outcome = exc
        finally:
            ended_at = self._clock()
            self._loop.call_soon_threadsafe(
                self._finish, batch, outcome, taken_at, ended_at - started_at
            )

    def _finish(
        self,
        batch: Sequence[Job],
        outcome: Sequence[Answer] | Exception,
        taken_at: float,
        seconds: float,
    ) -> None:
        self._free += 1
        if isinstance(outcome, Exception):
            log.error("A batch of %d failed.", len(batch), exc_info=outcome)
            _fail({job.ticket for job in batch}, outcome)
        else:
            for job, answer in zip(batch, outcome, strict=True):
                timing = Timing(taken_at - job.enqueued_at, seconds)
                job.ticket.resolve(job.index, answer, timing)
        self._report_batch(batch, seconds, failed=isinstance(outcome, Exception))
        self._dispatch()

    def _die(self, taken: Sequence[Job]) -> None:
        self._refusing = True
        log.critical("The batcher failed; it refuses work from now on.")
        for job in (*taken, *self._scheduler.drain()):
            job.ticket.fail(EngineStopped())

    def _report_waiting(self) -> None:
        if self._observer:
            self._observer.on_waiting(self.waiting)

    def _report_batch(self, batch: Sequence[Job], seconds: float, *, failed: bool) -> None:
        if self._observer:
            lengths = [job.length for job in batch]
            padded = max(lengths) * len(lengths)
            report = BatchReport(len(batch), sum(lengths), padded, seconds, failed)
            self._observer.on_batch(report)


def _fail(tickets: set[Ticket], cause: Exception) -> None:
    for ticket in tickets:
        error = InferenceFailed()
        error.__cause__ = cause
        ticket.fail(error)
