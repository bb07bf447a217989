"""Different lengths share a batch where the costs say so, and nobody waits for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.costs import CostGrid
from service.engine.scheduler import BatchPolicy, Scheduler, length_class
from tests.engine.test_scheduler import jobs, lengths

POLICY = BatchPolicy(max_waiting=10_000)
SIZES, STEPS = (1, 8, 64), (1, 64, 512)


def grid(overhead, per_step=1e-6) -> CostGrid:
    rows = ((overhead + per_step * size * steps for steps in STEPS) for size in SIZES)
    return CostGrid(SIZES, STEPS, tuple(map(tuple, rows)))


def test_where_a_run_is_dear_and_a_step_is_cheap_all_lengths_go_together():
    scheduler = Scheduler(POLICY, grid(overhead=1.0))
    scheduler.add(jobs(16, 512, 17, 40, 300))
    assert sorted(lengths(scheduler.next_batch())) == [16, 17, 40, 300, 512]


def test_where_padding_is_dear_the_short_go_alone():
    scheduler = Scheduler(POLICY, grid(overhead=1e-5))
    scheduler.add(jobs(16, 512, 17))
    assert lengths(scheduler.next_batch()) == [16, 17]
    assert lengths(scheduler.next_batch()) == [512]


def test_who_joins_comes_from_the_nearest_lengths_and_behind_the_oldest():
    scheduler = Scheduler(POLICY, grid(overhead=1e-4))
    scheduler.add(added := jobs(100, 512, 90, 101))
    batch = scheduler.next_batch()
    assert batch[0] is added[0]
    assert sorted(lengths(batch)) == [90, 100, 101]


def test_the_only_other_class_joins_although_the_first_leaves_whole():
    scheduler = Scheduler(BatchPolicy(max_batch_size=3), grid(overhead=1.0))
    scheduler.add(jobs(16, 16, 100, 100))
    assert lengths(scheduler.next_batch()) == [16, 16, 100]
    assert lengths(scheduler.next_batch()) == [100]


grids = st.builds(
    grid,
    st.floats(1e-6, 1e-1),
    st.floats(1e-7, 1e-4),
)
crowds = st.lists(st.integers(1, 512), min_size=1, max_size=40)


@given(grids, crowds)
def test_a_batch_is_never_foretold_to_cost_more_than_its_classes_apart(costs, crowd):
    scheduler = Scheduler(POLICY, costs)
    scheduler.add(jobs(*crowd))
    while batch := scheduler.next_batch():
        classes = {}
        for each in lengths(batch):
            classes.setdefault(length_class(each), []).append(each)
        apart = sum(costs.seconds(len(some), max(some)) for some in classes.values())
        together = costs.seconds(len(batch), max(lengths(batch)))
        spared = (len(classes) - 1) * costs.hand_over
        assert together <= (apart + spared) * (1 + 1e-9)


@given(grids, crowds, crowds)
def test_a_job_is_passed_over_by_no_more_batches_than_there_were_jobs_before_it(
    costs, before, after
):
    scheduler = Scheduler(POLICY, costs)
    scheduler.add(jobs(*before))
    (watched,) = mine = jobs(512)
    scheduler.add(mine)
    passed = 0
    for length in after * 5:  # newcomers who never stop
        scheduler.add(jobs(length))
        if watched in scheduler.next_batch():
            break
        passed += 1
    assert passed <= len(before)


@given(grids, crowds, st.integers(1, 4))
def test_everybody_leaves_once_and_in_order_within_a_class(costs, crowd, free):
    scheduler, added = Scheduler(POLICY, costs), jobs(*crowd)
    scheduler.add(added)
    left = []
    while batch := scheduler.next_batch(free):
        left += batch
    assert sorted(map(id, left)) == sorted(map(id, added))
    for key in {length_class(each.length) for each in added}:
        same = [each for each in added if length_class(each.length) == key]
        assert [each for each in left if length_class(each.length) == key] == same


@pytest.mark.parametrize(("overhead", "size"), [(1e-4, 4), (1.0, 8)])
def test_idle_runners_share_a_queue_where_that_is_faster(overhead, size):
    scheduler = Scheduler(POLICY, grid(overhead))
    scheduler.add(jobs(*[64] * 8))
    assert len(scheduler.next_batch(free=2)) == size


def test_a_batch_grows_no_larger_than_is_useful():
    worse = CostGrid((1, 8, 64), (8,), ((1.0,), (4.0,), (64.0,)))
    scheduler = Scheduler(POLICY, worse)
    scheduler.add(jobs(*[8] * 20))
    assert len(scheduler.next_batch()) == 8
