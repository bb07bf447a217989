"""Two queues by priority, foreground and background: no clock, no tasks, no I/O."""

import math
from collections.abc import Sequence
from dataclasses import replace

from service.engine.costs import Costs
from service.engine.jobs import Job
from service.engine.scheduler import BatchPolicy, Scheduler

PATIENCE = 16  # foreground batches in a row while background jobs wait


class Lanes:
    """
    A scheduler whose background jobs run when no foreground jobs wait.

    They do not starve: after ``PATIENCE`` foreground batches in a row while background jobs
    waited, one background batch goes first.  Each lane holds ``max_waiting`` jobs of its own, so
    background work never has a foreground request refused.  A batch is of one lane.
    """

    def __init__(self, policy: BatchPolicy, costs: Costs | None = None, runners: int = 1) -> None:
        self._front = Scheduler(policy, costs, runners)
        self._background = Scheduler(replace(policy, max_wait=math.inf), costs, runners)
        self._passed = 0  # foreground batches in a row while background jobs waited

    def __len__(self) -> int:
        return len(self._front) + len(self._background)

    def full(self, now: float) -> bool:
        """Whether a foreground request made now would be refused."""
        return self._front.full(now)

    def overloaded(self, now: float) -> bool:
        """Whether a foreground request was refused a moment ago for its waiting time."""
        return self._front.overloaded(now)

    def add(self, jobs: Sequence[Job], now: float = 0.0) -> None:
        """Queue all jobs of a request, or none and raise Overloaded."""
        if jobs:
            self._lane_of(jobs[0]).add(jobs, now)

    def discard(self, jobs: Sequence[Job]) -> None:
        """Remove whichever of these jobs, all of one request, still wait."""
        if jobs:
            self._lane_of(jobs[0]).discard(jobs)

    def leader(self, now: float = 0.0) -> Job | None:
        """Return the job that goes next, if any."""
        return self._next(now).leader(now)

    def next_batch(self, free: int = 1, now: float = 0.0) -> list[Job]:
        """Remove and return the next batch; see ``Scheduler.next_batch``."""
        lane = self._next(now)
        batch = lane.next_batch(free, now)
        waits = lane is self._front and self._background.leader(now) is not None
        self._passed = self._passed + 1 if waits else 0
        return batch

    def begins(self, now: float) -> None:
        """Note that work begins now, after all runners were idle."""
        self._front.begins(now)

    def ran(self, batch: Sequence[Job], now: float) -> None:
        """Note that a batch of either lane is done."""
        self._front.ran(batch, now)

    def drain(self) -> list[Job]:
        """Remove and return every waiting job, each lane oldest first."""
        return self._front.drain() + self._background.drain()

    def useful_size(self, steps: int) -> int:
        """Return the largest allowed batch of so many steps that still gains throughput."""
        return self._front.useful_size(steps)

    def _next(self, now: float) -> Scheduler:
        if self._background.leader(now) is None:
            return self._front
        owed = self._passed >= PATIENCE or self._front.leader(now) is None
        return self._background if owed else self._front

    def _lane_of(self, job: Job) -> Scheduler:
        return self._background if job.ticket.background else self._front
