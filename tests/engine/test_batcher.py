"""The promises a batcher makes to the people who wait in it."""

import asyncio
import itertools
import logging
import threading
import time

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from service.engine.batcher import Batcher, Slots
from service.engine.errors import EngineStopped, InferenceFailed, Overloaded
from service.engine.observer import BatchReport
from service.engine.scheduler import BatchPolicy
from tests.doubles import (
    PATIENCE,
    ForgetfulRunner,
    HeldRunner,
    JudgedRunner,
    PoisonedRunner,
    RecordingObserver,
    answer_to,
    row,
    rows,
    said,
    value_of,
    within,
)

POISON = 13.0


async def ask(batcher, *values) -> list[float]:
    answers, _ = await batcher.predict(rows(*values))
    return said(answers)


async def settle():
    """Let everything that is ready on the loop happen."""
    for _ in range(5):
        await asyncio.sleep(0)


async def asking(batcher, *values) -> asyncio.Task:
    """Ask, and return once the request is in the waiting room or with the runner."""
    task = asyncio.create_task(ask(batcher, *values))
    await settle()
    return task


async def busy(batcher, runner) -> asyncio.Task:
    """Occupy the only slot, so that everything after it gathers in the waiting room."""
    task = await asking(batcher, 0)
    await runner.entered()
    return task


async def closed(batcher):
    await within(batcher.close())


async def test_every_row_gets_its_own_answer_in_order():
    batcher = Batcher(HeldRunner())
    assert await within(ask(batcher, 3, 1, 2)) == [3, 1, 2]
    await closed(batcher)


async def test_rows_of_one_request_may_travel_apart_and_come_back_in_order():
    runner = HeldRunner()
    batcher = Batcher(runner)
    asked = [row(1, 400), row(2, 3), row(3, 400), row(4, 3), row(5, 20)]
    answers, _ = await within(batcher.predict(asked))
    assert said(answers) == [1, 2, 3, 4, 5]
    assert runner.batches == [[1, 3], [2, 4], [5]]
    await closed(batcher)


async def test_requests_that_arrive_while_the_runner_is_busy_share_the_next_batch():
    runner = HeldRunner(held=True)
    batcher = Batcher(runner)
    first = await busy(batcher, runner)
    rest = [await asking(batcher, 1, 2), await asking(batcher, 3), await asking(batcher, 4, 5)]
    runner.release()
    assert await within(asyncio.gather(first, *rest)) == [[0], [1, 2], [3], [4, 5]]
    assert runner.batches == [[0], [1, 2, 3, 4, 5]]
    await closed(batcher)


async def test_requests_of_the_same_moment_share_the_first_batch():
    runner = HeldRunner()
    batcher = Batcher(runner)
    asked = (ask(batcher, value) for value in (1, 2, 3))
    assert await within(asyncio.gather(*asked)) == [[1], [2], [3]]
    assert runner.batches == [[1, 2, 3]]
    await closed(batcher)


@pytest.mark.parametrize("leaver", range(4))
@pytest.mark.parametrize("when", ["waiting", "running"])
async def test_a_caller_who_leaves_harms_nobody(leaver, when):
    runner = HeldRunner(held=True)
    batcher = Batcher(runner, slots=Slots(1 if when == "waiting" else 2))
    first = await busy(batcher, runner)
    tasks = await asyncio.gather(*(asking(batcher, value) for value in range(1, 5)))
    if when == "running":
        await runner.entered()
    tasks[leaver].cancel()
    await settle()
    runner.release()
    results = await within(asyncio.gather(first, *tasks, return_exceptions=True))
    expected = [[value] for value in range(5)]
    assert isinstance(results.pop(leaver + 1), asyncio.CancelledError)
    expected.pop(leaver + 1)
    assert results == expected
    assert await within(ask(batcher, 9)) == [9]
    await closed(batcher)


async def test_a_caller_who_leaves_frees_his_places_and_costs_nothing():
    runner = HeldRunner(held=True)
    batcher = Batcher(runner, BatchPolicy(max_waiting=3))
    first = await busy(batcher, runner)
    leaver = await asking(batcher, 1, 2, 3)
    assert batcher.waiting == 3
    leaver.cancel()
    await settle()
    assert batcher.waiting == 0
    newcomer = await asking(batcher, 4, 5, 6)
    runner.release()
    assert await within(asyncio.gather(first, newcomer)) == [[0], [4, 5, 6]]
    assert runner.batches == [[0], [4, 5, 6]]
    await closed(batcher)


async def test_a_deadline_is_just_another_way_of_leaving():
    runner = HeldRunner(held=True)
    batcher = Batcher(runner)
    first = await busy(batcher, runner)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await batcher.predict(rows(1))
    assert batcher.waiting == 0
    runner.release()
    assert await within(first) == [0]
    assert await within(ask(batcher, 2)) == [2]
    assert runner.batches == [[0], [2]]
    await closed(batcher)


async def test_a_caller_who_leaves_a_failing_batch_harms_nobody():
    runner = PoisonedRunner(0, held=True)
    batcher = Batcher(runner)
    leaver = await busy(batcher, runner)
    leaver.cancel()
    await settle()
    runner.release()
    assert await within(ask(batcher, 1)) == [1]
    await closed(batcher)


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
async def test_a_runner_that_raises_fails_whose_rows_made_it_and_nobody_else(error):
    runner, observer = PoisonedRunner(POISON, error, held=True), RecordingObserver()
    batcher = Batcher(runner, BatchPolicy(max_batch_size=4), observer=observer)
    first = await busy(batcher, runner)
    asked = [await asking(batcher, *values) for values in ((1,), (2, POISON), (3,), (4,))]
    runner.release()
    results = await within(asyncio.gather(first, *asked, return_exceptions=True))
    assert runner.batches == [[0], [1, 2, POISON, 3], [1, 2], [POISON, 3], [POISON], [3], [4]]
    assert [type(each) for each in results] == [list, list, InferenceFailed, list, list]
    assert results[3] == [3]
    assert [report.failed for report in observer.reports] == [0, 1, 0]
    assert batcher.ready
    await closed(batcher)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_a_runner_that_ends_its_thread_fails_its_batch_and_nobody_else(error):
    runner = PoisonedRunner(POISON, error, held=True)
    batcher = Batcher(runner, BatchPolicy(max_batch_size=2))
    first = await busy(batcher, runner)
    poisoned, mate, spared = [await asking(batcher, value) for value in (POISON, 1, 2)]
    runner.release()
    results = await within(asyncio.gather(first, poisoned, mate, spared, return_exceptions=True))
    assert runner.batches == [[0], [POISON, 1], [2]]
    assert [type(each) for each in results] == [list, InferenceFailed, InferenceFailed, list]
    assert results[1] is not results[2]
    assert batcher.ready
    assert await within(ask(batcher, 3)) == [3]
    await closed(batcher)


async def test_a_failure_says_its_reason_and_is_logged(caplog):
    batcher = Batcher(PoisonedRunner(POISON))
    with pytest.raises(InferenceFailed) as caught:
        await within(ask(batcher, POISON))
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert str(caught.value.__cause__) == "poisoned"
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info[1] is caught.value.__cause__
    await closed(batcher)


async def test_a_request_with_one_failed_batch_fails_whole_and_its_rest_never_runs():
    runner = PoisonedRunner(POISON)
    batcher = Batcher(runner, BatchPolicy(max_batch_size=1))
    with pytest.raises(InferenceFailed):
        await within(ask(batcher, 1, POISON, 2, 3))
    await closed(batcher)
    assert batcher.waiting == 0
    assert [3] not in runner.batches


async def test_a_runner_that_loses_an_answer_fails_its_batch():
    batcher = Batcher(ForgetfulRunner())
    with pytest.raises(InferenceFailed) as caught:
        await within(ask(batcher, 1, 2))
    assert str(caught.value.__cause__) == "2 rows got 1 answers."
    assert batcher.ready
    await closed(batcher)


async def test_a_full_waiting_room_refuses_at_once_and_the_whole_request():
    runner = HeldRunner(held=True)
    batcher = Batcher(runner, BatchPolicy(max_waiting=3))
    first = await busy(batcher, runner)
    waiting = await asking(batcher, 1, 2)
    refused = await asking(batcher, 3, 4)
    assert refused.done()  # while the runner is still held
    assert isinstance(refused.exception(), Overloaded)
    assert batcher.waiting == 2
    fitting = await asking(batcher, 5)
    runner.release()
    assert await within(asyncio.gather(first, waiting, fitting)) == [[0], [1, 2], [5]]
    assert batcher.ready
    await closed(batcher)


async def test_closing_finishes_what_was_accepted_and_refuses_newcomers():
    runner = HeldRunner(held=True)
    batcher = Batcher(runner, BatchPolicy(max_batch_size=2))
    first = await busy(batcher, runner)
    rest = [await asking(batcher, value) for value in range(1, 6)]
    closing = asyncio.create_task(batcher.close())
    await settle()
    assert not closing.done()
    assert not batcher.ready
    with pytest.raises(EngineStopped):
        await batcher.predict(rows(9))
    runner.release()
    results = await within(asyncio.gather(first, *rest))
    assert results == [[value] for value in range(6)]
    await within(closing)
    with pytest.raises(EngineStopped):
        await batcher.predict(rows(9))


async def test_closing_lets_the_threads_go():
    batcher = Batcher(HeldRunner(), slots=Slots(2))
    await within(ask(batcher, 1))
    threads = list(batcher._threads._threads)
    await closed(batcher)
    for thread in threads:
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()


async def test_closing_does_not_wait_for_those_who_left():
    runner = HeldRunner(held=True)
    batcher = Batcher(runner)
    first = await busy(batcher, runner)
    leaver = await asking(batcher, 1)
    closing = asyncio.create_task(batcher.close())
    await settle()
    leaver.cancel()
    first.cancel()
    runner.release()
    await within(closing)
    assert runner.batches == [[0]]


async def test_closing_does_not_wait_for_one_who_leaves_in_the_same_moment():
    batcher = Batcher(HeldRunner())
    leaver = asyncio.create_task(ask(batcher, 1))
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)  # the one waits, the other closes, and no batch was formed yet
    assert batcher.waiting == 1
    leaver.cancel()
    await within(closing, 1)


async def test_two_may_close_the_same_batcher():
    runner = HeldRunner(held=True)
    batcher = Batcher(runner)
    first = await busy(batcher, runner)
    both = [asyncio.create_task(batcher.close()) for _ in range(2)]
    await settle()
    runner.release()
    await first
    await within(asyncio.gather(*both), 1)


async def test_a_request_of_no_rows_is_answered():
    batcher = Batcher(HeldRunner())
    answers, _ = await within(batcher.predict([]), 1)
    assert answers == []


class Quiet:
    """A context that fails if the loop turns, or the process computes, while it waits."""

    def __init__(self, loop):
        self.turns = 0
        self._loop = loop

    def __enter__(self):
        self._run_once = self._loop._run_once
        self._loop._run_once = self._count
        self._before = time.process_time()
        return self

    def _count(self):
        self.turns += 1
        self._run_once()

    def __exit__(self, *_):
        self.seconds = time.process_time() - self._before
        del self._loop._run_once


async def test_an_idle_batcher_polls_nothing_and_owns_no_task():
    batchers = [Batcher(HeldRunner(), slots=Slots(2)) for _ in range(4)]
    for batcher in batchers:
        await within(ask(batcher, 1, 2))
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with Quiet(asyncio.get_running_loop()) as quiet:
        await asyncio.sleep(0.3)
    assert quiet.turns < 5  # ours: to fall asleep and to wake up
    assert quiet.seconds < 0.1
    for batcher in batchers:
        await closed(batcher)


async def test_several_slots_run_in_parallel():
    together = threading.Barrier(3, timeout=PATIENCE)

    class Meeting:
        def run(self, asked):
            together.wait()
            return [answer_to(each) for each in asked]

    batcher = Batcher(Meeting(), BatchPolicy(max_batch_size=1), slots=Slots(3))
    assert await within(ask(batcher, 1, 2, 3)) == [1, 2, 3]
    await closed(batcher)


async def test_no_more_batches_run_than_there_are_slots():
    runner = HeldRunner(held=True)
    batcher = Batcher(runner, BatchPolicy(max_batch_size=1), slots=Slots(2))
    task = await asking(batcher, 1, 2, 3, 4, 5, 6)
    await runner.entered()
    await runner.entered()
    assert len(runner.batches) == 2
    assert batcher.waiting == 2  # two more lie ready for the threads
    runner.release()
    assert await within(task) == [1, 2, 3, 4, 5, 6]
    await closed(batcher)


async def test_a_slow_batch_does_not_hold_up_the_other_slot():
    runner, gate = HeldRunner(), threading.Event()

    class SlowOnce:
        def run(self, asked):
            answers = runner.run(asked)
            if answers and said(answers) == [0]:
                gate.wait(PATIENCE)
            return answers

    batcher = Batcher(SlowOnce(), slots=Slots(2))
    slow = await busy(batcher, runner)
    for value in (1, 2, 3):
        assert await within(ask(batcher, value)) == [value]
    assert not slow.done()
    gate.set()
    assert await within(slow) == [0]
    await closed(batcher)


async def test_a_request_learns_how_long_it_waited_and_ran():
    ticks = itertools.count()
    batcher = Batcher(HeldRunner(), clock=lambda: float(next(ticks)))
    _, timing = await within(batcher.predict(rows(1, 2)))
    # enqueued at 0, taken at 1, started at 2, ended at 3
    assert (timing.queue, timing.compute) == (1.0, 1.0)
    await closed(batcher)


async def test_a_request_in_several_batches_learns_of_its_slowest():
    ticks = itertools.count()
    policy = BatchPolicy(max_batch_size=1)
    batcher = Batcher(HeldRunner(), policy, clock=lambda: float(next(ticks)))
    _, timing = await within(batcher.predict(rows(1, 2)))
    # the second was taken at 4, when the first had run
    assert (timing.queue, timing.compute) == (4.0, 1.0)
    await closed(batcher)


async def test_the_observer_hears_of_every_batch_on_the_loop():
    observer = RecordingObserver()
    batcher = Batcher(PoisonedRunner(POISON), observer=observer, clock=lambda: 0.0)
    await within(batcher.predict([row(1, 10), row(2, 10), row(3, 11)]))
    with pytest.raises(InferenceFailed):
        await within(ask(batcher, POISON))
    await closed(batcher)
    assert observer.reports == [
        BatchReport(size=3, steps=31, padded_steps=33, seconds=0.0, failed=0),
        BatchReport(size=1, steps=3, padded_steps=3, seconds=0.0, failed=1),
    ]
    assert max(observer.waiting) == 3
    assert observer.waiting[-1] == 0
    assert observer.threads == {threading.get_ident()}


class Broken(Exception):
    """A defect of ours."""


@pytest.fixture
async def complaints():
    """Collect what the loop would have logged as unhandled."""
    loop, heard = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _loop, context: heard.append(context["exception"]))
    yield heard
    loop.set_exception_handler(None)


async def test_a_batcher_with_a_defect_answers_everyone_and_is_not_ready(complaints, monkeypatch):
    def defect(_free, _now):
        raise Broken

    runner = HeldRunner(held=True)
    batcher = Batcher(runner)
    running = await busy(batcher, runner)
    waiting = await asking(batcher, 1)
    monkeypatch.setattr(batcher._scheduler, "next_batch", defect)
    runner.release()
    assert await within(running) == [0]
    with pytest.raises(EngineStopped):
        await within(waiting)
    assert not batcher.ready
    assert batcher.waiting == 0
    with pytest.raises(EngineStopped):
        await batcher.predict(rows(2))
    assert [type(each) for each in complaints] == [Broken]


class DefectiveObserver(RecordingObserver):
    """Raises at the first batch."""

    def on_batch(self, report):
        super().on_batch(report)
        if len(self.reports) == 1:
            raise Broken


async def test_an_observer_with_a_defect_leaves_nobody_waiting(complaints):
    runner = HeldRunner(held=True)
    batcher = Batcher(runner, observer=DefectiveObserver())
    running = await busy(batcher, runner)
    waiting = await asking(batcher, 1)
    runner.release()
    assert await within(asyncio.gather(running, waiting), 1) == [[0], [1]]
    await closed(batcher)
    assert [type(each) for each in complaints] == [Broken]


@pytest.mark.usefixtures("complaints")
async def test_a_batch_that_finds_no_thread_is_answered_too(monkeypatch):
    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    batcher = Batcher(HeldRunner())
    monkeypatch.setattr(batcher._threads, "submit", no_thread)
    with pytest.raises((EngineStopped, InferenceFailed)):
        await within(ask(batcher, 1), 1)


ASK, CROWD_IN, LEAVE, ANSWER, FAIL = "ask", "crowd in", "leave", "answer", "fail"
some_lengths = st.lists(st.sampled_from([1, 3, 9]), min_size=1, max_size=5)
interleavings = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([ASK, CROWD_IN]), some_lengths),
        st.tuples(st.just(LEAVE), st.integers(0, 99)),
        st.tuples(st.sampled_from([ANSWER, FAIL]), st.none()),
    ),
    min_size=5,
    max_size=40,
)


class Crowd:
    """Callers who come, leave and wait for a runner that answers or fails as it is told."""

    def __init__(self, policy, slots):
        self.runner = JudgedRunner()
        self.batcher = Batcher(self.runner, policy, slots=Slots(slots))
        self.requests = []  # (values, task)
        self._values = itertools.count()

    async def play(self, action, argument):
        if action in (ASK, CROWD_IN):
            asked = [row(next(self._values), length) for length in argument]
            task = asyncio.create_task(self.ask(asked))
            self.requests.append(([value_of(each) for each in asked], task))
        elif action == LEAVE and self.requests:
            _, task = self.requests[argument % len(self.requests)]
            task.cancel()
        elif action in (ANSWER, FAIL):
            self.runner.judge(action)
        if action != CROWD_IN:  # who crowds in comes in the same moment as the next
            await settle()

    async def ask(self, asked):
        answers, _ = await self.batcher.predict(asked)
        return said(answers)

    async def finish(self):
        self.runner.open()
        tasks = [task for _, task in self.requests]
        return await within(asyncio.gather(*tasks, return_exceptions=True), 5)


async def play(policy, slots, actions):
    """Play the actions to their end; return the crowd, what each heard, and what went wrong."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    crowd = Crowd(policy, slots)
    for action, argument in actions:
        await crowd.play(action, argument)
    outcomes = await crowd.finish()
    assert crowd.batcher.waiting == 0
    await closed(crowd.batcher)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return crowd, outcomes, complaints


# A deadlock takes too long to look for a smaller one.
@settings(deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 3), interleavings)
def test_every_accepted_request_is_answered_once_with_its_own_rows(size, room, slots, actions):
    policy = BatchPolicy(max_batch_size=size, max_waiting=room)
    crowd, outcomes, complaints = asyncio.run(play(policy, slots, actions))
    ran, failed = crowd.runner.ran, crowd.runner.failed
    assert complaints == []
    assert len(ran) == len(set(ran)), "no row runs twice, unless its batch fails"
    for (values, _), outcome in zip(crowd.requests, outcomes, strict=True):
        if isinstance(outcome, list):
            assert outcome == values
            assert set(values) <= set(ran) - failed
        elif isinstance(outcome, InferenceFailed):
            assert failed & set(values)
        elif isinstance(outcome, Overloaded):
            assert not set(values) & set(ran)
        else:
            assert isinstance(outcome, asyncio.CancelledError)


async def test_a_caller_who_fails_to_hear_his_answer_costs_nobody_else_his():
    batcher, told = Batcher(HeldRunner()), asyncio.Event()

    def deaf(_):
        raise ValueError("deaf")

    first = batcher.submit(rows(1), deaf)
    second = batcher.submit(rows(2), lambda _: told.set())
    await within(told.wait())
    assert said(second.result()) == [2]
    batcher.release(first)
    assert await within(ask(batcher, 3)) == [3]
    await closed(batcher)


async def test_who_left_is_told_nothing():
    runner, told = HeldRunner(held=True), []
    batcher = Batcher(runner)
    first = await busy(batcher, runner)
    waiting = batcher.submit(rows(1), told.append)
    batcher.release(waiting)
    assert batcher.waiting == 0
    runner.release()
    await within(first)
    await closed(batcher)
    assert told == []


async def test_who_leaves_while_his_batch_runs_is_told_nothing():
    runner, told = HeldRunner(held=True), []
    batcher = Batcher(runner)
    running = batcher.submit(rows(1), told.append)
    await runner.entered()
    batcher.release(running)
    runner.release()
    await closed(batcher)
    assert told == []
