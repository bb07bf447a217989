"""Where a batch runs: on the loop where it is short, in a thread where it is not."""

import asyncio
import gc
import threading
import weakref

import pytest

from service.engine.batcher import Batcher, Slots
from service.engine.costs import CostGrid
from service.engine.scheduler import BatchPolicy
from tests.doubles import HeldRunner, answer_to, rows, said, within

MILLISECOND = CostGrid((1, 100), (1,), ((0.001,), (0.001,)))


class Whereabouts:
    """Remembers the thread of each batch."""

    def __init__(self):
        self.threads = []

    def run(self, asked):
        self.threads.append(threading.get_ident())
        return [answer_to(each) for each in asked]


@pytest.mark.parametrize(
    ("slots", "here"),
    [
        (Slots(1, 0, 0.002), True),
        (Slots(1, 3, 0.002), True),
        (Slots(2, 0, 0.002), True),
        (Slots(1, 0, 0.0005), False),
        (Slots(1, 0, 0.0), False),
    ],
)
async def test_a_batch_foretold_to_be_short_needs_no_thread(slots, here):
    runner = Whereabouts()
    batcher = Batcher(runner, slots=slots, costs=MILLISECOND)
    answers, _ = await within(batcher.predict(rows(1, 2)))
    assert said(answers) == [1, 2]
    assert (runner.threads == [threading.get_ident()]) == here
    await within(batcher.close())


async def test_several_threads_are_not_left_idle_for_the_loop():
    runner = Whereabouts()
    policy = BatchPolicy(max_batch_size=1)
    batcher = Batcher(runner, policy, slots=Slots(2, 0, 0.002), costs=MILLISECOND)
    await within(asyncio.gather(*(batcher.predict(rows(number)) for number in range(6))))
    assert sum(thread != threading.get_ident() for thread in runner.threads) >= 4
    await within(batcher.close())


async def test_a_request_in_a_hurry_and_the_loop_both_get_their_turn():
    """Short batches on the loop, one after the other, leave it time for others in between."""
    batcher = Batcher(
        Whereabouts(), BatchPolicy(max_batch_size=1), slots=Slots(1, 0, 1.0), costs=MILLISECOND
    )
    turns = 0
    work = asyncio.gather(*(batcher.predict(rows(number)) for number in range(20)))
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 20
    await within(batcher.close())


class Meeting:
    """A run ends only when a second one has begun."""

    def __init__(self):
        self.barrier = threading.Barrier(2)

    def run(self, asked):
        self.barrier.wait(10)
        return [answer_to(each) for each in asked]


async def test_a_request_of_many_batches_is_lent_the_spare_threads():
    batcher = Batcher(Meeting(), BatchPolicy(max_batch_size=2), slots=Slots(1, 1))
    answers, _ = await within(batcher.predict(rows(1, 2, 3, 4)))
    assert said(answers) == [1, 2, 3, 4]
    await within(batcher.close())


async def test_small_requests_are_not():
    runner = HeldRunner(held=True)
    batcher = Batcher(runner, BatchPolicy(max_batch_size=1), slots=Slots(1, 1))
    tasks = [asyncio.create_task(batcher.predict(rows(number))) for number in (1, 2, 3)]
    await runner.entered()
    for _ in range(5):
        await asyncio.sleep(0)
    assert runner.batches == [[1]]
    assert batcher.waiting == 2
    runner.release()
    await within(asyncio.gather(*tasks))
    await within(batcher.close())


async def test_a_small_request_behind_a_large_one_is_answered():
    batcher = Batcher(Whereabouts(), BatchPolicy(max_batch_size=2), slots=Slots(1, 1))
    large = asyncio.create_task(batcher.predict(rows(*range(40))))
    small = asyncio.create_task(batcher.predict(rows(99)))
    (answers, _), (one, _) = await within(asyncio.gather(large, small))
    assert said(answers) == list(range(40))
    assert said(one) == [99]
    await within(batcher.close())


@pytest.mark.parametrize("slots", [Slots(1, 0, 0.002), Slots(1, 0, 0.0)])
async def test_the_rows_of_a_request_go_with_its_answer_not_with_the_next_collection(slots):
    batcher = Batcher(Whereabouts(), slots=slots, costs=MILLISECOND)
    asked = rows(1, 2)
    kept = [weakref.ref(each.sequence) for each in asked]
    gc.disable()
    try:
        await within(batcher.predict(asked))
        await within(batcher.close())
        batcher._threads.shutdown(wait=True)
        del asked
        assert all(each() is None for each in kept)
    finally:
        gc.enable()


async def turn_by_turn(batcher, count):
    """Ask ``count`` times, each time in the next turn of the loop; return all answers."""
    asked = []
    for number in range(count):
        asked.append(asyncio.ensure_future(batcher.predict(rows(number))))
        await asyncio.sleep(0)
    return await within(asyncio.gather(*asked))


async def test_who_come_turn_by_turn_of_the_loop_share_a_batch():
    runner = HeldRunner()
    batcher = Batcher(runner, slots=Slots(inline_seconds=1.0))
    await turn_by_turn(batcher, 6)
    assert [len(batch) for batch in runner.batches] == [6]
    await within(batcher.close())


async def test_a_full_batch_does_not_wait_for_those_who_still_come():
    runner = HeldRunner()
    batcher = Batcher(runner, BatchPolicy(max_batch_size=3), slots=Slots(inline_seconds=1.0))
    await turn_by_turn(batcher, 9)
    assert max(len(batch) for batch in runner.batches) == 3
    assert len(runner.batches[0]) == 3
    await within(batcher.close())
