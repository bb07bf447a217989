"""Decide which waiting jobs form the next batch; a pure data structure: no clock, tasks or I/O."""

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from service.engine.backlog import Backlog
from service.engine.costs import Costs, Proportional
from service.engine.errors import Overloaded
from service.engine.jobs import Job

CLASSES_PER_OCTAVE = 4  # jobs of one class pad by at most a fifth
KNOWN = 4_096  # entries of the cache of work by steps
WORTH_SPLITTING = 0.8  # a batch is split for idle runners if a part takes at most this share


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Bounds on the size of a batch and on the queue, in jobs and in estimated seconds."""

    max_batch_size: int = 64
    max_batch_steps: int = 65_536  # time steps after padding
    max_waiting: int = 4_096
    max_wait: float = math.inf  # estimated seconds

    def __post_init__(self) -> None:
        if min(self.max_batch_size, self.max_batch_steps, self.max_waiting) < 1:
            raise ValueError("Every bound of a batch policy must be at least 1.")
        if not self.max_wait > 0:
            raise ValueError("The longest wait must be more than nothing.")


@dataclass(slots=True)
class _Share:
    """What one length class contributes to a batch: how many jobs, and the longest of them."""

    key: int
    count: int
    longest: int


class Scheduler:
    """
    A queue of jobs, kept as one first-in-first-out queue for each class of similar lengths.

    The oldest job of all leads the next batch, so no job is passed over by more batches than
    there were jobs before it.  Jobs of its own class fill the batch up to the size that still
    gains throughput; jobs of other classes join while the measured costs say that one batch is
    cheaper than two.  A job that is discarded is removed at once.
    """

    def __init__(self, policy: BatchPolicy, costs: Costs | None = None, runners: int = 1) -> None:
        self._policy = policy
        self._costs: Costs = costs or Proportional()
        self._backlog = Backlog(policy.max_wait, 1 / runners)
        self._works: dict[int, tuple[float, float]] = {}  # steps -> what ``_work_of`` returns
        self._queues: dict[int, OrderedDict[Job, int]] = {}  # job -> its place in line
        self._arrivals = 0
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def full(self, now: float) -> bool:
        """Whether a request made now would be refused; a refusal counts as overload."""
        return self._waiting >= self._policy.max_waiting or not self._backlog.admits(now)

    def overloaded(self, now: float) -> bool:
        """Whether a request was refused a moment ago because it would have waited too long."""
        return self._backlog.overloaded(now)

    def add(self, jobs: Sequence[Job], now: float = 0.0) -> None:
        """Queue all jobs of a request, or none and raise Overloaded."""
        if self._waiting + len(jobs) > self._policy.max_waiting:
            raise Overloaded(
                f"{self._waiting} of at most {self._policy.max_waiting} sequences wait already."
            )
        if not self._backlog.admits(now):
            raise Overloaded
        work = self._foretell(jobs)
        for job in jobs:
            job.work = work
            key = length_class(job.length)
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = OrderedDict()
            queue[job] = self._arrivals
            self._arrivals += 1
        self._waiting += len(jobs)

    def discard(self, jobs: Sequence[Job]) -> None:
        """Remove whichever of these jobs still wait."""
        for job in jobs:
            key = length_class(job.length)
            if key in self._queues and self._queues[key].pop(job, None) is not None:
                self._left(key, job)

    def leader(self, now: float = 0.0) -> Job | None:
        """Return the oldest job that is not abandoned, if any; drop abandoned ones before it."""
        queues = self._queues
        while queues:
            key = min(queues, key=self._oldest) if len(queues) > 1 else next(iter(queues))
            leader = next(iter(queues[key]))
            if not leader.abandoned(now):
                return leader
            self.discard([leader])
        return None

    def next_batch(self, free: int = 1, now: float = 0.0) -> list[Job]:
        """
        Remove and return the oldest job and those batched with it; empty if none waits.

        ``free`` is the number of idle runners; the queue is split among them where that is
        faster.  Jobs past their deadline are dropped silently: their request has its own timer.
        """
        leader = self.leader(now)
        if leader is None:
            return []
        batch: list[Job] = []
        for share in list(self._compose(leader, free, now)):  # composed before anybody leaves
            self._take(share, batch, now)
        return batch

    def begins(self, now: float) -> None:
        """Note that work begins now, after all runners were idle."""
        self._backlog.begins(now)

    def ran(self, batch: Sequence[Job], now: float) -> None:
        """Note that a batch is done, from which waiting times are estimated."""
        work = 0.0
        for job in batch:
            work += self._work_of(job.length)[0]
        self._backlog.ran(work, now, others=self._waiting > 0)

    def drain(self) -> list[Job]:
        """Remove and return every waiting job, oldest first."""
        waiting = [item for queue in self._queues.values() for item in queue.items()]
        self._queues.clear()
        self._waiting = 0
        self._backlog.remove(0.0, last=True)
        return [job for job, _ in sorted(waiting, key=lambda item: item[1])]

    def useful_size(self, steps: int) -> int:
        """Return the largest allowed batch of so many steps that still gains throughput."""
        by_steps = self._policy.max_batch_steps // steps
        return max(1, min(self._policy.max_batch_size, by_steps, self._costs.useful_size(steps)))

    def _foretell(self, jobs: Sequence[Job]) -> float:
        """
        Add a request to the backlog; return the estimated seconds counted for each of its jobs.

        A large request counts as one batch at most, so that those behind it wait for it instead
        of being refused.
        """
        if len(jobs) == 1:
            work, batch = self._work_of(jobs[0].length)
            self._backlog.add(work, batch)
            return work
        _, batch = self._work_of(max(job.length for job in jobs))
        work = min(sum(self._work_of(job.length)[0] for job in jobs), batch)
        self._backlog.add(work, batch)
        return work / len(jobs)

    def _work_of(self, steps: int) -> tuple[float, float]:
        """Return the estimated seconds of a useful batch, per sequence and in all."""
        found = self._works.get(steps)
        if found is None:
            if len(self._works) >= KNOWN:
                self._works.clear()
            size = self.useful_size(steps)
            batch = self._costs.seconds(size, steps) + self._costs.hand_over
            found = self._works[steps] = batch / size, batch
        return found

    def _compose(self, leader: Job, free: int, now: float) -> Iterator[_Share]:
        """Yield the shares of the next batch, the leader's class first."""
        key = length_class(leader.length)
        share = self._share(key, self.useful_size(leader.length), free, now)
        yield share
        size, longest = share.count, share.longest
        for other in self._neighbours(key):
            room = self.useful_size(max(longest, self._first_length(other))) - size
            if room < 1:
                continue
            guest = self._share(other, room, 1, now)
            if not self._together(size, longest, guest):
                continue
            yield guest
            size, longest = size + guest.count, max(longest, guest.longest)

    def _together(self, size: int, longest: int, guest: _Share) -> bool:
        """Whether one batch costs less than two and stays within the bound of steps."""
        both, steps = size + guest.count, max(longest, guest.longest)
        if both * steps > self._policy.max_batch_steps:
            return False
        apart = self._costs.seconds(size, longest) + self._costs.seconds(guest.count, guest.longest)
        return self._costs.seconds(both, steps) < apart + self._costs.hand_over

    def _share(self, key: int, room: int, free: int, now: float) -> _Share:
        """Return how many of the first jobs of a class fit; abandoned ones do not count."""
        there = (job.length for job in self._queues[key] if not job.abandoned(now))
        lengths = list(islice(there, room * free))
        longest = max(lengths, default=1)
        count = max(1, min(len(lengths), room, self._policy.max_batch_steps // longest))
        part = -(-len(lengths) // free)
        if free > 1 and part < count:
            whole = self._costs.seconds(count, longest)
            if self._costs.seconds(part, longest) <= WORTH_SPLITTING * whole:
                count = part
        return _Share(key, count, longest)

    def _neighbours(self, key: int) -> list[int]:
        """List the other classes that have jobs, nearest in length first, shorter before longer."""
        others = [other for other in self._queues if other != key]
        return sorted(others, key=lambda other: (abs(other - key), other))

    def _first_length(self, key: int) -> int:
        return next(iter(self._queues[key])).length

    def _oldest(self, key: int) -> int:
        return next(iter(self._queues[key].values()))

    def _take(self, share: _Share, batch: list[Job], now: float) -> None:
        queue, wanted = self._queues[share.key], share.count
        work = 0.0
        while queue and wanted:
            job, _ = queue.popitem(last=False)
            self._waiting -= 1
            work += job.work
            if not job.abandoned(now):
                batch.append(job)
                wanted -= 1
        self._backlog.remove(work, last=not self._waiting)
        if not queue:
            del self._queues[share.key]

    def _left(self, key: int, job: Job) -> None:
        self._waiting -= 1
        self._backlog.remove(job.work, last=not self._waiting)
        if not self._queues[key]:
            del self._queues[key]


def length_class(length: int) -> int:
    """Return the class of a length; lengths of one class differ by at most a factor of 1.25."""
    octave = length.bit_length() - 1
    quarter = (length << 2 >> octave) & 3
    return CLASSES_PER_OCTAVE * octave + quarter
