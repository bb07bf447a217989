"""One rule, one crowd, some runners and a virtual clock."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation.prices import Truth
from benchmarks.simulation.rules import Rule
from benchmarks.simulation.traffic import Crowd
from service.engine.jobs import Job, Row, Ticket


@dataclass(frozen=True)
class Outcome:
    """What became of everybody; all by the order of arrival."""

    arrived: NDArray[np.float64]  # seconds, by sequence
    started: NDArray[np.float64]
    ended: NDArray[np.float64]
    owners: NDArray[np.int64]  # the request of each sequence
    runs: NDArray[np.int64]  # how often each sequence ran
    before: NDArray[np.int64]  # how many sequences waited when it came, its elders of a request too
    batches: list[list[int]]  # the sequences of each, in the order they left
    padding: float  # of all steps that ran

    @cached_property
    def latencies(self) -> NDArray[np.float64]:
        """Seconds by request: until the last of its sequences has its answer."""
        firsts = np.flatnonzero(np.diff(self.owners, prepend=-1))
        return np.maximum.reduceat(self.ended, firsts) - self.arrived[firsts]

    @property
    def longest_wait(self) -> float:
        """Seconds until the last to start did so."""
        return float(np.max(self.started - self.arrived))

    @property
    def served(self) -> float:
        """Sequences per second until the last answer."""
        return len(self.runs) / float(self.ended.max())

    @property
    def mean_batch(self) -> float:
        """Sequences in a batch."""
        return len(self.runs) / len(self.batches)

    @cached_property
    def passed_over(self) -> NDArray[np.int64]:
        """By sequence, the batches that left before it with somebody younger."""
        found = np.zeros(len(self.runs), np.int64)
        youngest: list[int] = []
        for batch in self.batches:
            for place in batch:
                found[place] = len(youngest) - bisect_right(youngest, place)
            insort(youngest, max(batch))
        return found

    @property
    def beyond_bound(self) -> int:
        """How many were passed over by more batches than there were sequences before them."""
        return int((self.passed_over > self.before).sum())


def play(rule: Rule, truth: Truth, crowd: Crowd, times: Sequence[float], runners: int) -> Outcome:
    """Let every request in at its time, and run each batch as long as it takes in truth."""
    replay = _Replay(rule, truth, crowd, times, runners)
    replay.run()
    return replay.outcome()


class _Replay:
    def __init__(
        self, rule: Rule, truth: Truth, crowd: Crowd, times: Sequence[float], runners: int
    ) -> None:
        self._policy = rule.make(truth.foretold)
        self._least_steps = rule.least_steps
        self._truth = truth
        self._times = times
        self._owners = np.repeat(np.arange(len(crowd.counts)), crowd.counts)
        self._arrived = np.array(times)[self._owners]
        self._jobs = _jobs(crowd.lengths.tolist(), self._arrived.tolist())
        self._edges = [0, *np.cumsum(crowd.counts).tolist()]  # of the requests, among the jobs
        self._free = runners
        self._running: list[tuple[float, int]] = []  # when it ends, number of the batch
        self._batches: list[list[int]] = []
        self._taken = self._padded = 0
        self._started = [float("nan")] * len(self._jobs)
        self._ended = [float("nan")] * len(self._jobs)
        self._runs, self._before = [0] * len(self._jobs), [0] * len(self._jobs)

    def run(self) -> None:
        """Go from event to event."""
        times, running, request = self._times, self._running, 0
        while request < len(times) or running:
            if request < len(times) and (not running or times[request] < running[0][0]):
                now = times[request]
                request = self._let_in(request)
            else:
                now = self._finish()
            if self._free:
                self._start(now)

    def outcome(self) -> Outcome:
        """Return what became of everybody."""
        started, ended = np.array(self._started), np.array(self._ended)
        runs, before = np.array(self._runs), np.array(self._before)
        padding = 1 - sum(job.length for job in self._jobs) / self._padded
        return Outcome(
            self._arrived, started, ended, self._owners, runs, before, self._batches, padding
        )

    def _let_in(self, request: int) -> int:
        """Add a request, and all that come before any batch could start; return the next."""
        if self._free:
            until = bisect_right(self._times, self._times[request], request)
        else:
            until = bisect_left(self._times, self._running[0][0], request)
        first, last = self._edges[request], self._edges[until]
        self._before[first:last] = range(first - self._taken, last - self._taken)
        self._policy.add(self._jobs[first:last])
        return until

    def _finish(self) -> float:
        now, number = heappop(self._running)
        self._free += 1
        for place in self._batches[number]:
            self._ended[place] = now
            self._runs[place] += 1
        return now

    def _start(self, now: float) -> None:
        while self._free and (batch := self._policy.next_batch(self._free)):
            steps = max(self._least_steps, *(job.length for job in batch))
            places = [job.index for job in batch]
            for place in places:
                self._started[place] = now
            end = now + self._truth.seconds(len(batch), steps)
            heappush(self._running, (end, len(self._batches)))
            self._batches.append(places)
            self._padded += steps * len(batch)
            self._taken += len(batch)
            self._free -= 1


def _jobs(lengths: Sequence[int], times: Sequence[float]) -> list[Job]:
    caller = Ticket([], 0.0, lambda _: None)  # never leaves
    rows = {length: Row(np.empty((length, 0), np.float32)) for length in set(lengths)}
    each = enumerate(zip(lengths, times, strict=True))
    return [Job(rows[length], caller, index, now) for index, (length, now) in each]
