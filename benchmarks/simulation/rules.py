"""
Ours and the simpler rules: who goes next.

The counts of the others are those that serve most with the measured costs of bench-lstm, among
the powers of two from 4; 32 is what one would take without having measured.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

from benchmarks.simulation.traffic import LONGEST
from service.engine.costs import CostGrid
from service.engine.jobs import Job
from service.engine.scheduler import BatchPolicy, Scheduler


class Policy(Protocol):
    """Decides who goes next."""

    def add(self, jobs: Sequence[Job]) -> None:
        """Let jobs in."""

    def next_batch(self, free: int = 1) -> list[Job]:
        """Take the next batch; empty if nobody waits."""


class InOrder:
    """Batches in the order of arrival, bounded by their count alone."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._waiting: deque[Job] = deque()

    def add(self, jobs: Sequence[Job]) -> None:
        """Let jobs in."""
        self._waiting.extend(jobs)

    def next_batch(self, free: int = 1) -> list[Job]:  # noqa: ARG002  part of the protocol
        """Take the oldest."""
        count = min(self._count, len(self._waiting))
        return [self._waiting.popleft() for _ in range(count)]


class ShortestFirst:
    """Batches of the shortest, whoever came first."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._waiting: list[tuple[int, int, Job]] = []

    def add(self, jobs: Sequence[Job]) -> None:
        """Let jobs in."""
        for job in jobs:
            heappush(self._waiting, (job.length, job.index, job))

    def next_batch(self, free: int = 1) -> list[Job]:  # noqa: ARG002  part of the protocol
        """Take the shortest, of equal ones the oldest."""
        count = min(self._count, len(self._waiting))
        return [heappop(self._waiting)[2] for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Rule:
    """How to make a policy that believes in some costs, and to how many steps it pads at least."""

    make: Callable[[CostGrid], Policy]
    least_steps: int = 1


OURS = "ours"
RULES = {
    OURS: Rule(lambda costs: Scheduler(BatchPolicy(max_waiting=2**31), costs)),
    "one by one": Rule(lambda _: InOrder(1)),
    "4 in order": Rule(lambda _: InOrder(4)),
    "32 in order": Rule(lambda _: InOrder(32)),
    f"4, pad to {LONGEST}": Rule(lambda _: InOrder(4), LONGEST),
    "8 shortest": Rule(lambda _: ShortestFirst(8)),
}
