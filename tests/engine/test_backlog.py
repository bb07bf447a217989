"""What waits is bounded by how long it will take: played in virtual time."""

import itertools
import math
import random

import pytest

from service.engine.backlog import CALM, Backlog
from service.engine.costs import CostGrid
from service.engine.errors import Overloaded
from service.engine.jobs import Ticket
from service.engine.scheduler import BatchPolicy, Scheduler
from tests.doubles import row

LONGEST = 0.25
LENGTH = 96
SIZES = 1, 2, 4, 8, 16, 32
# What LSTMs of several widths cost on one processor: a run of one, and what each further row adds.
ALONE, EACH = 0.003, 0.0022
GRID = CostGrid(SIZES, (LENGTH,), tuple((ALONE + EACH * (size - 1),) for size in SIZES))
CAPACITY = max(size / (GRID.seconds(size, LENGTH) + GRID.hand_over) for size in SIZES)


def filled(work, pace=1.0):
    backlog = Backlog(LONGEST, pace)
    backlog.add(work, batch=0.004)
    return backlog


def test_a_burst_is_let_in_up_to_the_longest_wait():
    backlog = filled(0.24)
    assert backlog.admits(0.0)
    assert not backlog.overloaded(0.0)
    backlog.add(0.02, 0.004)
    assert not backlog.admits(0.0)
    assert backlog.overloaded(0.0)


def test_after_a_refusal_the_queue_is_held_short_until_nobody_was_refused_for_a_while():
    backlog = filled(0.26)
    assert not backlog.admits(0.0)
    backlog.remove(0.16, last=False)
    assert not backlog.admits(0.1)  # 100 ms wait: too many in an overload
    assert not backlog.admits(0.1 + 0.9 * CALM)
    backlog.remove(0.0945, last=False)
    assert backlog.admits(0.1 + 1.0 * CALM)
    backlog.add(0.1, 0.004)
    assert backlog.admits(0.1 + 1.9 * CALM)
    assert not backlog.overloaded(0.1 + 1.9 * CALM)


def test_in_an_overload_half_a_batch_may_wait_however_long_that_is():
    backlog = Backlog(LONGEST)
    backlog.add(0.26, batch=0.2)
    assert not backlog.admits(0.0)
    backlog.remove(0.17, last=False)
    assert backlog.admits(0.1)


def test_a_wait_counts_in_the_seconds_that_pass_not_in_those_foretold():
    assert filled(0.2, pace=1.0).admits(0.0)
    assert not filled(0.2, pace=2.0).admits(0.0)


def test_the_pace_is_learnt_while_others_wait_and_only_then():
    backlog = Backlog(LONGEST)
    backlog.begins(10.0)
    for number in range(1, 40):
        backlog.ran(0.01, 10.0 + number * 0.03, others=False)
    assert backlog.pace == 1
    now = 20.0
    backlog.begins(now)
    for _ in range(300):
        now += 0.03
        backlog.ran(0.01, now, others=True)
    assert backlog.pace == pytest.approx(3, rel=0.05)


def test_no_error_adds_up_over_an_afternoon():
    backlog = Backlog(LONGEST)
    for number in range(100_000):
        backlog.add(0.1 + number % 7 / 3, 1.0)
        backlog.remove(0.1 + number % 7 / 3, last=number % 1000 == 999)
    assert backlog.work == 0


def test_without_a_bound_everybody_is_let_in():
    backlog = Backlog(math.inf)
    backlog.add(1e9, 1.0)
    assert backlog.admits(0.0)


def played(load, *, seconds=8.0, settle=2.0, refusal=15e-6):
    """Offer a multiple of the capacity; return what part of it was served, and the times."""
    chance = random.Random(0)  # noqa: S311  nothing secret
    gaps = (chance.expovariate(load * CAPACITY) for _ in itertools.count())
    arrivals = itertools.accumulate(gaps)
    policy = BatchPolicy(max_batch_size=32, max_wait=LONGEST)
    scheduler, now, times = Scheduler(policy, GRID), 0.0, []
    due = next(arrivals)
    while now < settle + seconds:
        if not len(scheduler):
            now = max(now, due)
            scheduler.begins(now)
        else:
            batch = scheduler.next_batch(1, now)
            now += GRID.seconds(len(batch), LENGTH) + GRID.hand_over
            scheduler.ran(batch, now)
            times += [now - job.enqueued_at for job in batch if job.enqueued_at > settle]
        until = now
        while due <= until:
            try:
                scheduler.add(Ticket([row(1, LENGTH)], due, print).jobs, due)
            except Overloaded:
                now += refusal
            due = next(arrivals)
    return len(times) / seconds / CAPACITY, sorted(times)


def test_ten_times_what_can_be_served_costs_no_tenth_of_it_and_no_patience():
    busy, quiet_times = played(0.8)
    assert busy == pytest.approx(0.8, abs=0.05)
    patience = 2 * quiet_times[int(0.99 * len(quiet_times))]
    for load in (2, 5, 10):
        served, times = played(load)
        assert served > 0.9
        assert times[int(0.99 * len(times))] < patience
