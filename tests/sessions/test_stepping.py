"""Steps: taken once, in order, answered from the store when they come again."""

import asyncio

import orjson
import pytest

from service.engine.errors import InferenceFailed, InvalidSequence
from service.sessions.errors import (
    OtherPayload,
    SessionGone,
    SessionNotFound,
    StepRunning,
    StoreUnavailable,
    WrongStep,
)
from service.sessions.turns import Taken
from tests.doubles import within
from tests.sessions.house import SUM, WINDOW, Number, living


@pytest.fixture
async def house(tmp_path, store, clock):
    async with living(tmp_path, store, clock) as house:
        yield house


async def test_a_recurrent_session_goes_on_from_its_state(house):
    session = await house.open(history=[1, 2, 3])
    assert await house.says(session, 1, 4) == {"step": 1, "count": 4, "said": 10.0}
    assert await house.says(session, 2, 5, 6) == {"step": 2, "count": 6, "said": 21.0}


async def test_a_window_session_sees_its_last_inputs_and_says_nothing_before_there_are_enough(
    house,
):
    session = await house.open(WINDOW)
    told = [(await house.says(session, n, n * 10))["said"] for n in range(1, 8)]
    assert told == [None, None, 30, 40, 50, 60, 70]
    found, _ = await house.sessions.look("", session)
    assert found.stream.window.ravel().tolist() == [30, 40, 50, 60, 70]


async def test_a_history_longer_than_one_run_is_read_whole(house):
    session = await house.open(history=list(range(100)))
    assert await house.says(session, 1, 0) == {"step": 1, "count": 101, "said": sum(range(100))}


async def test_a_step_that_the_model_fails_on_fails_no_other_of_its_request(house, monkeypatch):
    runner = (await house.model(SUM)).batcher._runner
    run = runner.run

    def failing(rows):
        if any(row.sequence.max() > 100 for row in rows):
            raise RuntimeError("too much")
        return run(rows)

    sessions = [await house.open() for _ in range(3)]
    values = [1, 101, 3]
    steps = [Number(each, 1, (value,)) for each, value in zip(sessions, values, strict=True)]
    monkeypatch.setattr(runner, "run", failing)
    told = await house.take(*steps)
    assert [type(each) for each in told] == [Taken, InferenceFailed, Taken]
    assert [orjson.loads(told[place].body)["said"] for place in (0, 2)] == [1, 3]
    assert (await house.says(sessions[1], 1, 2))["said"] == 2  # nothing of it was kept


async def test_the_last_step_again_is_answered_byte_for_byte_and_changes_nothing(house):
    session = await house.open()
    step = Number(session, 1, (5,))
    (first,) = await house.take(step)
    (again,) = await house.take(step)
    assert again == Taken(first.body, replayed=True)
    assert (await house.says(session, 2, 1))["said"] == 6


@pytest.mark.parametrize("number", [0, 1, 4, 99])
async def test_a_step_that_does_not_follow_is_told_which_would(house, number):
    session = await house.open()
    await house.says(session, 1, 1)
    await house.says(session, 2, 1)
    (told,) = await house.take(Number(session, number, (1,)))
    assert isinstance(told, WrongStep)
    assert told.expected == 3
    assert (await house.says(session, 3, 1))["said"] == 3


async def test_the_last_step_with_other_values_is_refused(house):
    session = await house.open()
    await house.says(session, 1, 1)
    (told,) = await house.take(Number(session, 1, (2,)))
    assert isinstance(told, OtherPayload)


async def test_before_the_first_step_there_is_no_last_one_to_answer_again(house):
    session = await house.open(history=[1])
    (told,) = await house.take(Number(session, 0, (1,)))
    assert isinstance(told, WrongStep)


async def test_steps_of_many_sessions_are_each_answered_for_themselves(house):
    sessions = [await house.open() for _ in range(5)]
    other = await house.open(tenant="other")
    steps = [Number(session, 1, (n,)) for n, session in enumerate(sessions)]
    told = await house.take(*steps, Number("nobody", 1, (1,)), Number(other, 1, (1,)))
    assert [orjson.loads(one.body)["said"] for one in told[:5]] == [0, 1, 2, 3, 4]
    assert [type(one) for one in told[5:]] == [SessionNotFound, SessionNotFound]


async def test_steps_of_one_session_in_one_request_are_taken_in_order(house):
    one, two = await house.open(), await house.open()
    told = await house.take(
        Number(one, 1, (1,)), Number(one, 2, (2,)), Number(two, 1, (7,)), Number(one, 3, (3,))
    )
    assert [orjson.loads(each.body)["said"] for each in told] == [1, 3, 7, 6]


async def test_thousands_of_steps_in_one_request_are_all_taken(house):
    sessions = [await house.open() for _ in range(40)]
    steps = [Number(session, turn, (1,)) for turn in range(1, 31) for session in sessions]
    told = await within(house.take(*steps), 30)
    assert [orjson.loads(one.body)["said"] for one in told[-40:]] == [30.0] * 40


async def test_what_one_step_gets_wrong_harms_no_other_and_does_not_advance_it(house):
    good, bad = await house.open(), await house.open()
    told = await house.take(Number(bad, 1, (float("inf"),)), Number(good, 1, (1,)))
    assert isinstance(told[0], InvalidSequence)
    assert orjson.loads(told[1].body)["said"] == 1
    assert (await house.says(bad, 1, 2))["said"] == 2


async def test_of_two_steps_at_once_of_one_session_one_is_told_to_come_again(house):
    session = await house.open()
    step = Number(session, 1, (1,))
    told = [one for (one,) in await asyncio.gather(*(house.take(step) for _ in range(10)))]
    taken = [one for one in told if isinstance(one, Taken)]
    assert len(taken) == 1
    assert all(isinstance(one, StepRunning) for one in told if one not in taken)
    assert (await house.says(session, 2, 1))["said"] == 2


async def test_a_step_that_another_process_took_first_is_answered_with_what_that_one_stored(
    house, monkeypatch
):
    session = await house.open()
    step = Number(session, 1, (5,))
    before = await house.store.read([session])
    await house.take(step)
    real, reads = house.store.read, iter([before])

    async def stale(ids):
        return next(reads, None) or await real(ids)

    monkeypatch.setattr(house.store, "read", stale)
    (told,) = await house.take(step)
    assert isinstance(told, Taken)
    assert told.replayed
    assert (await house.says(session, 2, 1))["said"] == 6


async def test_a_caller_who_leaves_leaves_the_session_free_for_others(house):
    session = await house.open()
    task = asyncio.create_task(house.take(Number(session, 1, (1,))))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await within(house.says(session, 1, 1)))["said"] == 1


async def test_a_store_that_fails_is_told_to_every_step_and_advances_none(house, monkeypatch):
    sessions = [await house.open() for _ in range(3)]

    async def down(_):
        raise StoreUnavailable("down")

    with monkeypatch.context() as patched:
        patched.setattr(house.store, "write", down)
        told = await house.take(*(Number(session, 1, (1,)) for session in sessions))
        assert all(isinstance(one, StoreUnavailable) for one in told)
    for session in sessions:
        assert (await house.says(session, 1, 1))["said"] == 1


async def test_a_session_of_another_model_is_not_found_where_one_is_named(house):
    session = await house.open(WINDOW)
    (told,) = await house.take(Number(session, 1, (1,)), model=SUM)
    assert isinstance(told, SessionNotFound)


async def test_a_session_expires_when_no_step_comes_and_a_step_keeps_it(tmp_path):
    async with living(tmp_path, idle_seconds=100) as house:
        session = await house.open()
        house.clock.now += 99
        await house.says(session, 1, 1)
        house.clock.now += 99
        await house.says(session, 2, 1)
        house.clock.now += 101
        (told,) = await house.take(Number(session, 3, (1,)))
        assert isinstance(told, SessionGone)
        assert await house.sessions.expire() == 1
        (told,) = await house.take(Number(session, 3, (1,)))
        assert isinstance(told, SessionGone)


async def test_what_was_acknowledged_is_there_after_a_restart(tmp_path):
    async with living(tmp_path) as house:
        recurrent, window = await house.open(), await house.open(WINDOW, history=[1, 2, 3])
        await house.says(recurrent, 1, 5)
        before = await house.says(window, 1, 4)
    async with living(tmp_path) as house:
        assert (await house.says(recurrent, 2, 6))["said"] == 11
        assert await house.says(window, 1, 4) == before
        assert (await house.says(window, 2, 5))["said"] == 5


async def test_a_conflict_that_was_another_step_is_told_the_next_number(house, monkeypatch):
    session = await house.open()
    before = await house.store.read([session])
    await house.says(session, 1, 5)
    await house.says(session, 2, 5)
    real, reads = house.store.read, iter([before])

    async def stale(ids):
        return next(reads, None) or await real(ids)

    monkeypatch.setattr(house.store, "read", stale)
    (told,) = await house.take(Number(session, 1, (9,)))
    assert isinstance(told, WrongStep)
    assert told.expected == 3
