"""
The scheduler against simpler rules, with a virtual clock: nothing runs, nothing is timed.

Requests of one sequence arrive in bursts (on and off by turns), with lognormal lengths within
16..512.  A load of 1 is what all runners answer if every batch holds equal lengths and is as
large as is useful.  The costs are of a stated form, so that the table is the same everywhere.
"""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

import click
import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from service.engine.costs import CostGrid
from service.engine.jobs import Job, Row, Ticket
from service.engine.scheduler import BatchPolicy, Scheduler

SHORTEST, LONGEST = 16, 512
MEDIAN, SPREAD = 64, 1.0  # of the lognormal lengths
PHASE = 0.01  # seconds, the mean time of being on, and of being off
LIMIT_BATCH = 32
SIZES, STEPS = (1, 2, 4, 8, 16, 32, 64), (16, 32, 64, 128, 256, 512)
LOADS, RUNNERS = (0.5, 0.8, 0.95), (2, 64)


def _chosen_seconds(size: int, steps: int) -> float:
    """
    Return 100 us and 1.2 us for each padded step, where two more rows are paid than are there.

    Chosen, not measured: it resembles an LSTM of 2 layers of 64 on one processor, for which
    NOTES.md has 140 to 200 us for a window of 96 steps in a batch.
    """
    return 100e-6 + 1.2e-6 * steps * (size + 2)


COSTS = CostGrid(
    SIZES, STEPS, tuple(tuple(_chosen_seconds(size, steps) for steps in STEPS) for size in SIZES)
)


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


def _ours() -> Policy:
    return Scheduler(BatchPolicy(max_waiting=2**31), COSTS)


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy, and to how many steps it pads at least."""

    make: Callable[[], Policy]
    least_steps: int = 1


RULES = {
    "ours": Rule(_ours),
    "one by one": Rule(lambda: InOrder(1)),
    "32 in order": Rule(lambda: InOrder(LIMIT_BATCH)),
    "32, pad to 512": Rule(lambda: InOrder(LIMIT_BATCH), LONGEST),
}


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When jobs arrive, in seconds and in order, and how long they are."""

    times: NDArray[np.float64]
    lengths: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of all arrivals."""

    latencies: NDArray[np.float64]  # seconds, by arrival; NaN if never answered
    answers: NDArray[np.int64]  # how often each was answered
    throughput: float  # per second
    padding: float  # of all steps that ran
    passed_over: int  # batches that left with a younger job while the same job waited


def capacity(runners: int, lengths: NDArray[np.int64]) -> float:
    """Return sequences/s if every batch held equal lengths and were as large as is useful."""
    sizes = [COSTS.useful_size(length) for length in lengths.tolist()]
    each = [
        COSTS.seconds(size, length) / size
        for size, length in zip(sizes, lengths.tolist(), strict=True)
    ]
    return runners / float(np.mean(each))


def arrivals(runners: int, load: float, seconds: float, seed: int) -> Arrivals:
    """Draw the arrivals of so many seconds: on and off by turns, Poisson while on."""
    random = np.random.default_rng(seed)
    sample = _lengths(random, 10_000)
    rate = 2 * load * capacity(runners, sample)  # half of the time
    times: list[NDArray[np.float64]] = []
    now = 0.0
    while now < seconds:
        on, off = random.exponential(PHASE, 2)
        times.append(np.sort(random.uniform(now, now + on, random.poisson(rate * on))))
        now += on + off
    found = np.concatenate(times)
    return Arrivals(found, _lengths(random, len(found)))


def _lengths(random: np.random.Generator, count: int) -> NDArray[np.int64]:
    drawn = random.lognormal(np.log(MEDIAN), SPREAD, count)
    return np.clip(drawn, SHORTEST, LONGEST).astype(np.int64)


def play(rule: Rule, given: Arrivals, runners: int) -> Outcome:
    """Let all arrivals in at their times, and run every batch as long as it costs."""
    policy, caller = rule.make(), Ticket([], 0.0, lambda _: None)
    times = given.times.tolist()
    rows = {length: Row(np.empty((length, 0), np.float32)) for length in set(given.lengths)}
    jobs = [
        Job(rows[length], caller, index, now)
        for index, (length, now) in enumerate(zip(given.lengths, times, strict=True))
    ]
    latencies, answers = np.full(len(jobs), np.nan), np.zeros(len(jobs), np.int64)
    ends: list[tuple[float, int, list[Job]]] = []
    batches: list[list[Job]] = []
    padded, now, place = 0, 0.0, 0
    while place < len(jobs) or ends:
        if ends and (place == len(jobs) or ends[0][0] <= times[place]):
            now, _, batch = heappop(ends)
            for job in batch:
                latencies[job.index] = now - job.enqueued_at
                answers[job.index] += 1
        else:
            now = times[place]
            policy.add([jobs[place]])
            place += 1
        while len(ends) < runners and (batch := policy.next_batch(runners - len(ends))):
            steps = max(rule.least_steps, *(job.length for job in batch))
            padded += steps * len(batch)
            heappush(ends, (now + COSTS.seconds(len(batch), steps), len(batches), batch))
            batches.append(batch)
    share = 1 - int(given.lengths.sum()) / padded
    return Outcome(latencies, answers, len(jobs) / now, share, _most_passed_over(batches))


def _most_passed_over(batches: Sequence[Sequence[Job]]) -> int:
    """Return the most batches that left before some job's with a younger one in them."""
    youngest: list[int] = []
    most = 0
    for batch in batches:
        oldest = min(job.index for job in batch)
        most = max(most, len(youngest) - bisect_right(youngest, oldest))
        insort(youngest, max(job.index for job in batch))
    return most


@click.command()
@click.option("--seconds", default=0.25, show_default=True, help="Virtual seconds of arrivals.")
@click.option("--seed", default=0, show_default=True)
def main(seconds: float, seed: int) -> None:
    """Play every rule at every load, and print one table."""
    title = f"{seconds} virtual seconds of bursts, lengths {SHORTEST}..{LONGEST}, seed {seed}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("runners", "load"):
        table.add_column(column, justify="right")
    table.add_column("rule")
    for column in ("p50 ms", "p99 ms", "sequences/s", "padding", "passed over"):
        table.add_column(column, justify="right")
    for runners in RUNNERS:
        for load in LOADS:
            given = arrivals(runners, load, seconds, seed)
            for name, rule in RULES.items():
                found = play(rule, given, runners)
                middle, late = np.percentile(found.latencies, [50, 99]) * 1e3
                figures = f"{middle:,.2f}", f"{late:,.2f}", f"{found.throughput:,.0f}"
                last = f"{found.padding:.0%}", f"{found.passed_over}"
                table.add_row(f"{runners}", f"{load}", name, *figures, *last)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
