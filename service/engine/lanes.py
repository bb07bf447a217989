"""Two waiting rooms, for who waits and for who can wait: no clock, no tasks, no I/O."""

import math
from collections.abc import Sequence
from dataclasses import replace

from service.engine.costs import Costs
from service.engine.jobs import Job
from service.engine.scheduler import BatchPolicy, Scheduler

PATIENCE = 16  # batches that may pass in front of the background's oldest job


class Lanes:
    """
    A scheduler whose background jobs go when no others wait.

    They never starve: once ``PATIENCE`` batches of others have passed while some of them waited,
    one of theirs goes first.  Each lane has room for ``max_waiting`` jobs of its own, so that no
    amount of background work has a newcomer refused, and a batch is of one lane.
    """

    def __init__(self, policy: BatchPolicy, costs: Costs | None = None, runners: int = 1) -> None:
        self._front = Scheduler(policy, costs, runners)
        self._background = Scheduler(replace(policy, max_wait=math.inf), costs, runners)
        self._passed = 0  # batches of the front, since the background waits

    def __len__(self) -> int:
        return len(self._front) + len(self._background)

    def full(self, now: float) -> bool:
        """Whether a request that comes now, and cannot wait, is to be refused."""
        return self._front.full(now)

    def overloaded(self, now: float) -> bool:
        """Whether one was refused a moment ago because it would have waited too long."""
        return self._front.overloaded(now)

    def add(self, jobs: Sequence[Job], now: float = 0.0) -> None:
        """Let all jobs of a request in, or none; raise Overloaded."""
        if jobs:
            self._lane_of(jobs[0]).add(jobs, now)

    def discard(self, jobs: Sequence[Job]) -> None:
        """Take back whichever of these jobs, of one request, still wait."""
        if jobs:
            self._lane_of(jobs[0]).discard(jobs)

    def leader(self, now: float = 0.0) -> Job | None:
        """Return the job that goes next, if any."""
        return self._next(now).leader(now)

    def next_batch(self, free: int = 1, now: float = 0.0) -> list[Job]:
        """Take the job that goes next and those of its lane that go with it; see Scheduler."""
        lane = self._next(now)
        batch = lane.next_batch(free, now)
        waits = lane is self._front and self._background.leader(now) is not None
        self._passed = self._passed + 1 if waits else 0
        return batch

    def begins(self, now: float) -> None:
        """Hear that the next job finds every runner at rest."""
        self._front.begins(now)

    def ran(self, batch: Sequence[Job], now: float) -> None:
        """Hear that a batch of either lane is done."""
        self._front.ran(batch, now)

    def drain(self) -> list[Job]:
        """Give up every waiting job, each lane oldest first."""
        return self._front.drain() + self._background.drain()

    def useful_size(self, steps: int) -> int:
        """Return how many sequences of so many steps a batch may hold, and gain."""
        return self._front.useful_size(steps)

    def _next(self, now: float) -> Scheduler:
        if self._background.leader(now) is None:
            return self._front
        owed = self._passed >= PATIENCE or self._front.leader(now) is None
        return self._background if owed else self._front

    def _lane_of(self, job: Job) -> Scheduler:
        return self._background if job.ticket.background else self._front
