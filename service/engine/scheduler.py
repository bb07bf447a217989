"""Decide which waiting jobs form the next batch: no clock, no tasks, no I/O."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from service.engine.errors import Overloaded
from service.engine.jobs import Job


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How large a batch may grow, and how many jobs may wait."""

    max_batch_size: int = 64
    max_batch_steps: int = 65_536  # time steps after padding, the true cost of a batch
    max_waiting: int = 4_096

    def __post_init__(self) -> None:
        if min(self.max_batch_size, self.max_batch_steps, self.max_waiting) < 1:
            raise ValueError("Every bound of a batch policy must be at least 1.")


class Scheduler:
    """
    A waiting room with one queue for each class of similar lengths.

    A batch holds jobs of one class, so that nobody pays for the padding of a much longer
    neighbour.  The oldest job of all leads the next batch, so no class starves another.
    Memory and time to leave are bounded: a job taken back is gone at once.
    """

    def __init__(self, policy: BatchPolicy) -> None:
        self._policy = policy
        self._queues: dict[int, OrderedDict[Job, int]] = {}  # job -> its place in line
        self._arrivals = 0
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, jobs: Sequence[Job]) -> None:
        """Let all jobs of a request in, or none; raise Overloaded."""
        if self._waiting + len(jobs) > self._policy.max_waiting:
            raise Overloaded(self._waiting, self._policy.max_waiting)
        for job in jobs:
            queue = self._queues.setdefault(length_class(job.length), OrderedDict())
            queue[job] = self._arrivals
            self._arrivals += 1
        self._waiting += len(jobs)

    def discard(self, jobs: Sequence[Job]) -> None:
        """Take back whichever of these jobs still wait."""
        for job in jobs:
            key = length_class(job.length)
            if key in self._queues and self._queues[key].pop(job, None) is not None:
                self._left(key)

    def next_batch(self) -> list[Job]:
        """Take the oldest job and those that fit with it; empty if nobody waits."""
        while self._queues:
            key = min(self._queues, key=self._oldest)
            leader = next(iter(self._queues[key]))
            if not leader.abandoned:
                return self._take(key)
            self.discard([leader])
        return []

    def drain(self) -> list[Job]:
        """Give up every waiting job, oldest first."""
        waiting = [item for queue in self._queues.values() for item in queue.items()]
        self._queues.clear()
        self._waiting = 0
        return [job for job, _ in sorted(waiting, key=lambda item: item[1])]

    def _oldest(self, key: int) -> int:
        return next(iter(self._queues[key].values()))

    def _take(self, key: int) -> list[Job]:
        queue, batch, longest = self._queues[key], list[Job](), 0
        while queue and len(batch) < self._policy.max_batch_size:
            job = next(iter(queue))
            if not job.abandoned:
                longest = max(longest, job.length)
                if batch and longest * (len(batch) + 1) > self._policy.max_batch_steps:
                    break
                batch.append(job)
            queue.popitem(last=False)
            self._waiting -= 1
        if not queue:
            del self._queues[key]
        return batch

    def _left(self, key: int) -> None:
        self._waiting -= 1
        if not self._queues[key]:
            del self._queues[key]


def length_class(length: int) -> int:
    """Return the class of a length; each spans a factor of about the square root of two."""
    octave = length.bit_length() - 1
    upper_half = length * length >= 2 << (2 * octave)
    return 2 * octave + upper_half
