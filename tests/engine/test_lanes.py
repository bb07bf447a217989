"""Who can wait lets others pass, and is not forgotten: afternoons played without a clock."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.batcher import Batcher, Slots
from service.engine.errors import Overloaded
from service.engine.jobs import Job, Ticket
from service.engine.lanes import PATIENCE, Lanes
from service.engine.scheduler import BatchPolicy
from tests.doubles import HeldRunner, row, rows, said, within


def request(*lengths, background=False) -> list[Job]:
    asked = [row(1, length) for length in lengths]
    return Ticket(asked, 0.0, lambda _: None, background=background).jobs


def later(*lengths) -> list[Job]:
    return request(*lengths, background=True)


def lanes(*requests, **bounds) -> Lanes:
    room = Lanes(BatchPolicy(**bounds))
    for jobs in requests:
        room.add(jobs)
    return room


def test_background_work_goes_when_nobody_else_waits():
    jobs = later(3, 3, 3)
    room = lanes(jobs, max_batch_size=2)
    assert room.leader() is jobs[0]
    assert [room.next_batch() for _ in range(3)] == [jobs[:2], jobs[2:], []]


def test_who_came_later_passes_background_work_and_shares_no_batch_with_it():
    behind, newcomers = later(3, 3), request(3, 3)
    room = lanes(behind, newcomers)
    assert room.leader() is newcomers[0]
    assert [room.next_batch(), room.next_batch()] == [newcomers, behind]


def test_background_work_is_passed_so_often_and_no_more():
    behind = later(3, 3)
    room = lanes(behind, max_batch_size=1)
    for turn in range(2):
        for _ in range(PATIENCE):
            room.add(request(3))
            assert not room.next_batch()[0].ticket.background
        room.add(request(3))
        assert room.leader() is behind[turn]
        assert room.next_batch() == [behind[turn]]


def test_batches_that_went_before_it_came_do_not_count():
    room = lanes(max_batch_size=1)
    for _ in range(2 * PATIENCE):
        room.add(request(3))
        room.next_batch()
    behind, newcomer = later(3), request(3)
    room.add(behind)
    room.add(newcomer)
    assert room.next_batch() == newcomer


def test_each_lane_has_room_of_its_own():
    room = lanes(later(3, 3), max_waiting=2)
    with pytest.raises(Overloaded):
        room.add(later(3))
    room.add(request(3, 3))
    with pytest.raises(Overloaded):
        room.add(request(3))
    assert len(room) == 4


def test_who_leaves_leaves_its_own_lane_at_once():
    behind, newcomers = later(3, 5), request(3)
    room = lanes(behind, newcomers)
    room.discard(behind)
    assert len(room) == 1
    room.discard(newcomers)
    assert len(room) == 0
    assert room.leader() is None
    assert room.next_batch() == []


def test_background_work_whose_caller_left_owes_nobody_a_turn():
    behind, newcomers = later(3), [request(3) for _ in range(PATIENCE + 1)]
    room = lanes(behind, *newcomers, max_batch_size=1)
    behind[0].ticket.release()
    assert [room.next_batch() for _ in newcomers] == newcomers


def test_draining_gives_up_both_lanes():
    behind, newcomers = later(3, 300), request(3)
    room = lanes(behind, newcomers)
    assert room.drain() == [*newcomers, *behind]
    assert len(room) == 0


arrivals = st.lists(
    st.one_of(st.none(), st.tuples(st.booleans(), st.integers(1, 4), st.integers(1, 40))),
    max_size=120,
)


@given(st.integers(1, 4), arrivals)
def test_an_afternoon_in_which_nobody_is_lost_and_nobody_starves(size, afternoon):
    room, waiting = lanes(max_batch_size=size), []
    passed = 0
    for arrival in [*afternoon, *[None] * 500]:
        if arrival:
            background, count, length = arrival
            jobs = request(*[length] * count, background=background)
            room.add(jobs)
            waiting += jobs
            continue
        batch = room.next_batch()
        behind = [job for job in waiting if job.ticket.background]
        assert bool(batch) == bool(waiting)
        if batch and behind:
            kinds = {job.ticket.background for job in batch}
            assert len(kinds) == 1
            alone = len(behind) == len(waiting)
            assert kinds == {alone or passed == PATIENCE}
            assert not kinds.pop() or behind[0] is batch[0]
        passed = passed + 1 if behind and not batch[0].ticket.background else 0
        waiting = [job for job in waiting if job not in batch]
    assert not waiting
    assert len(room) == 0


async def test_a_newcomer_waits_for_one_batch_of_background_work_at_most():
    runner = HeldRunner(held=True)
    batcher = Batcher(runner, BatchPolicy(max_batch_size=2), slots=Slots(1))
    slow = asyncio.create_task(batcher.predict(rows(*range(10)), background=True))
    await runner.entered()
    quick = asyncio.create_task(batcher.predict(rows(100)))
    await asyncio.sleep(0)
    runner.release()
    answers, _ = await within(quick)
    assert said(answers) == [100]
    answers, _ = await within(slow)
    assert said(answers) == list(range(10))
    assert runner.batches == [[0, 1], [100], [2, 3], [4, 5], [6, 7], [8, 9]]
    await batcher.close()


async def test_background_work_is_lent_no_thread_of_other_processes():
    runner = HeldRunner(held=True)
    batcher = Batcher(runner, BatchPolicy(max_batch_size=1), slots=Slots(1, spare=3))
    slow = asyncio.create_task(batcher.predict(rows(1, 2, 3, 4), background=True))
    await runner.entered()
    for _ in range(10):
        await asyncio.sleep(0)
    assert runner.batches == [[1]]
    runner.release()
    await within(slow)
    await batcher.close()
