"""Two waiting rooms, for who waits and for who can wait: no clock, no tasks, no I/O."""

from collections.abc import Sequence

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

    def __init__(self, policy: BatchPolicy, costs: Costs | None = None) -> None:
        self._front = Scheduler(policy, costs)
        self._background = Scheduler(policy, costs)
        self._passed = 0  # batches of the front, since the background waits

    def __len__(self) -> int:
        return len(self._front) + len(self._background)

    def add(self, jobs: Sequence[Job]) -> None:
        """Let all jobs of a request in, or none; raise Overloaded."""
        if jobs:
            self._lane_of(jobs[0]).add(jobs)

    def discard(self, jobs: Sequence[Job]) -> None:
        """Take back whichever of these jobs, of one request, still wait."""
        if jobs:
            self._lane_of(jobs[0]).discard(jobs)

    def leader(self) -> Job | None:
        """Return the job that goes next, if any."""
        return self._next().leader()

    def next_batch(self, free: int = 1) -> list[Job]:
        """Take the job that goes next and those of its lane that go with it; see Scheduler."""
        lane = self._next()
        batch = lane.next_batch(free)
        waits = lane is self._front and self._background.leader() is not None
        self._passed = self._passed + 1 if waits else 0
        return batch

    def drain(self) -> list[Job]:
        """Give up every waiting job, each lane oldest first."""
        return self._front.drain() + self._background.drain()

    def useful_size(self, steps: int) -> int:
        """Return how many sequences of so many steps a batch may hold, and gain."""
        return self._front.useful_size(steps)

    def _next(self) -> Scheduler:
        if self._background.leader() is None:
            return self._front
        owed = self._passed >= PATIENCE or self._front.leader() is None
        return self._background if owed else self._front

    def _lane_of(self, job: Job) -> Scheduler:
        return self._background if job.ticket.background else self._front
