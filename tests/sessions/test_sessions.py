"""Sessions as wholes: opened, looked at, forked, moved, closed."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from service.engine.errors import InvalidSequence
from service.sessions.errors import (
    ModelChanged,
    NotASession,
    SessionGone,
    SessionNotFound,
    SessionsFull,
    StoreUnavailable,
    WrongStep,
)
from service.sessions.sqlite import SqliteStore
from service.sessions.steps import Inputs
from service.sessions.store import Change, Limits
from service.sessions.stream import begin
from service.sessions.sweeper import sweeper
from tests.doubles import within
from tests.sessions.house import SUM, WINDOW, Number, column, living


@pytest.fixture
async def house(tmp_path):
    async with living(tmp_path, key=b"k" * 32) as house:
        yield house


async def test_opening_with_a_history_forecasts_at_once(house):
    model = await house.model(SUM)
    opened = await house.sessions.open(model, "", begin(model.card), Inputs(column([1, 2, 3])))
    assert opened.answer.mean[0, 0] == 6
    assert opened.session.record.step == 0
    assert opened.session.stream.count == 3


async def test_a_history_that_does_not_fit_opens_nothing(house):
    model = await house.model(SUM)
    with pytest.raises(InvalidSequence):
        await house.sessions.open(model, "", begin(model.card), Inputs(column([np.inf])))
    assert (await house.store.usage()).sessions == 0


async def test_a_fork_goes_on_from_where_its_session_stands_and_neither_sees_the_other(house):
    session = await house.open()
    await house.says(session, 1, 5)
    fork = (await house.sessions.fork("", session)).session.record.id
    assert (await house.says(fork, 2, 1))["said"] == 6
    assert (await house.says(session, 2, 10))["said"] == 15
    assert (await house.says(fork, 3, 1))["said"] == 7


async def test_an_exported_state_opens_a_session_anywhere_that_has_the_key_and_the_model(
    house, tmp_path
):
    session = await house.open(history=[1, 2])
    await house.says(session, 1, 5)
    token = await house.sessions.export("", session)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "models").symlink_to(tmp_path / "models")
    async with living(elsewhere, key=b"k" * 32) as other:
        adopted = await other.sessions.adopt(await other.model(SUM), "you", token)
        (told,) = await other.take(Number(adopted.record.id, 2, (1,)), tenant="you")
        assert b'"said":9.0' in told.body
    async with living(elsewhere, key=b"another") as other:
        with pytest.raises(NotASession):
            await other.sessions.adopt(await other.model(SUM), "", token)


async def test_a_state_of_another_model_is_refused(house):
    token = await house.sessions.export("", await house.open(WINDOW))
    with pytest.raises(NotASession, match="another file"):
        await house.sessions.adopt(await house.model(SUM), "", token)
    with pytest.raises(NotASession, match="another file"):
        await house.sessions.restore("", await house.open(SUM), token)


async def test_restoring_puts_a_session_back_to_where_it_stood(house):
    session = await house.open()
    await house.says(session, 1, 5)
    token = await house.sessions.export("", session)
    await house.says(session, 2, 100)
    await house.sessions.restore("", session, token)
    for late in await house.take(Number(session, 2, (100,)), Number(session, 3, (100,))):
        assert isinstance(late, WrongStep)
    assert (await house.says(session, 4, 1))["said"] == 6


async def test_a_step_that_was_on_its_way_when_its_session_was_restored_is_not_taken(
    house, monkeypatch
):
    session = await house.open()
    token = await house.sessions.export("", session)
    before = await house.store.read([session])
    await house.sessions.restore("", session, token)
    real, reads = house.store.read, iter([before])

    async def stale(ids):
        return next(reads, None) or await real(ids)

    monkeypatch.setattr(house.store, "read", stale)
    (told,) = await house.take(Number(session, 1, (100,)))
    assert isinstance(told, WrongStep)
    assert (await house.says(session, 2, 1))["said"] == 1


async def test_a_closed_session_is_gone_and_another_tenants_was_never_there(house):
    session = await house.open(tenant="me")
    for call in (house.sessions.look, house.sessions.close, house.sessions.fork):
        with pytest.raises(SessionNotFound):
            await call("you", session)
    await house.sessions.close("me", session)
    for call in (house.sessions.look, house.sessions.close, house.sessions.export):
        with pytest.raises(SessionGone):
            await call("me", session)
    with pytest.raises(SessionNotFound):
        await house.sessions.look("you", session)


async def test_a_tenant_may_have_so_many_sessions_and_no_more(tmp_path):
    limits = Limits(sessions=3, tenant_sessions=2)
    store = SqliteStore(tmp_path / "s.db", limits=limits, clock=lambda: 0.0)
    async with living(tmp_path, store=store) as house:
        kept = [await house.open(tenant="me") for _ in range(2)]
        with pytest.raises(SessionsFull) as refused:
            await house.open(tenant="me")
        assert refused.value.tenant
        await house.open(tenant="you")
        with pytest.raises(SessionsFull) as refused:
            await house.open(tenant="third")
        assert not refused.value.tenant
        await house.sessions.close("me", kept[0])
        await house.open(tenant="third")


async def test_a_session_whose_model_was_replaced_under_its_version_is_not_stepped(house):
    session = await house.open()
    (record,) = await house.store.read([session])
    changed = replace(record, id="other", model_hash="0" * 64)
    await house.store.write([Change(changed, after=None)])
    gone = replace(record, id="gone", version=9)
    await house.store.write([Change(gone, after=None)])
    for told in await house.take(Number("other", 1, (1,)), Number("gone", 1, (1,))):
        assert isinstance(told, ModelChanged)


async def test_the_sweeper_lets_idle_sessions_go_and_outlives_a_store_that_fails(
    house, monkeypatch
):
    session = await house.open()
    house.clock.now += 90_000
    real, calls = house.store.expire, []

    async def expire(now, limit):
        calls.append(now)
        if len(calls) == 1:
            raise StoreUnavailable("down")
        return await real(now, limit)

    monkeypatch.setattr(house.store, "expire", expire)
    async with sweeper(house.sessions, pause=0.01):
        while (await house.store.usage()).sessions:
            await within(asyncio.sleep(0.005))
    assert len(calls) >= 2
    assert session
