"""What every store promises, of the one in a file and the one in a server alike."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from service.sessions.errors import StoreUnavailable
from service.sessions.records import Gone
from service.sessions.store import (
    Change,
    Conflict,
    Full,
    Limits,
    Missing,
    Stored,
    Usage,
)
from tests.sessions.kept import DAY, HOUR, NOON, creation, following, record


async def test_a_session_is_read_as_it_was_written(store):
    kept = record(created=NOON + 0.123456789, touched=1 / 3, expires=NOON + 2 / 3)
    assert await store.write([Change(kept, after=None)]) == [Stored()]
    assert await store.read(["a", "b"]) == [kept, None]


@pytest.mark.parametrize("blob", [b"", b"\0", b"\n", bytes(range(256)), b"\xff\0\r\n" * 4096])
async def test_bytes_are_kept_exactly(store, blob):
    kept = record(state=blob, request=blob[::-1], answer=blob * 2)
    await store.write([Change(kept, after=None)])
    assert await store.read(["a"]) == [kept]


@pytest.mark.parametrize("name", ["ä/é 語", "a\0b", "a'b\"c", "{x}:y", "", "%s", "x" * 300])
async def test_any_text_is_an_id_and_a_tenant(store, name):
    kept = record(name, tenant=name, model=name)
    assert await store.write([Change(kept, after=None)]) == [Stored()]
    assert await store.read([name, name[:1] + "_"]) == [kept, None]
    assert await store.usage(name) == Usage(1, 5)


async def test_a_step_follows_only_the_step_that_is_kept(store):
    await store.write([creation()])
    first = following(record(), state=b"next", answer=b"body")
    assert await store.write([first]) == [Stored()]
    assert await store.write([first]) == [Conflict(1)]
    assert await store.write([following(first.record), creation("b")]) == [Stored(), Stored()]
    assert await store.write([Change(record(step=8), after=7)]) == [Conflict(2)]
    assert await store.read(["a"]) == [replace(first.record, step=2)]


async def test_an_id_that_is_taken_is_not_created_again(store):
    await store.write([creation(state=b"the first")])
    assert await store.write([creation(state=b"the second")]) == [Conflict(0)]
    assert await store.read(["a"]) == [record(state=b"the first")]


async def test_what_was_never_there_cannot_go_on(store):
    assert await store.write([following(record())]) == [Missing()]
    assert await store.read(["a"]) == [None]
    assert await store.usage() == Usage(0, 0)


async def test_another_tenants_session_cannot_be_changed(store):
    await store.write([creation()])
    assert await store.write([following(record(tenant="two"))]) == [Missing()]
    assert await store.read(["a"]) == [record()]


async def test_a_session_is_gone_at_the_very_moment_that_it_expires(store, clock):
    await store.write([creation()])
    clock.now = NOON + HOUR - 0.001
    assert await store.read(["a"]) == [record()]
    clock.now = NOON + HOUR
    assert await store.read(["a"]) == [Gone("one")]
    assert await store.write([following(record(expires=NOON + DAY))]) == [Missing()]
    assert await store.write([creation()]) == [Missing()]
    assert await store.usage("one") == Usage(1, 5)  # until it is let go


async def test_a_step_puts_off_the_end(store, clock):
    await store.write([creation()])
    await store.write([following(record(), expires=NOON + 2 * HOUR)])
    clock.now = NOON + HOUR
    assert await store.expire(clock.now, 10) == 0
    assert await store.read(["a"]) == [record(step=1, expires=NOON + 2 * HOUR)]


async def test_what_has_expired_is_let_go_in_parts_and_remembered_for_a_day(store, clock):
    ids = [f"{n}" for n in range(10)]
    await store.write([creation(id_) for id_ in ids])
    await store.write([creation("later", expires=NOON + 2 * HOUR)])
    clock.now = NOON + HOUR
    assert [await store.expire(clock.now, 4) for _ in range(4)] == [4, 4, 2, 0]
    assert await store.usage() == Usage(1, 5)
    assert await store.read(ids) == [Gone("one")] * 10
    assert await store.write([creation("0")]) == [Missing()]
    clock.now += DAY
    assert await store.read(ids) == [None] * 10


async def test_a_closed_session_is_gone_for_a_day_and_then_never_was(store, clock):
    await store.write([creation("a"), creation("b")])
    await store.close_sessions(["a", "nobody's"])
    assert await store.read(["a", "b", "nobody's"]) == [Gone("one"), record("b"), None]
    assert await store.write([following(record()), creation()]) == [Missing(), Missing()]
    assert await store.usage() == await store.usage("one") == Usage(1, 5)
    clock.now += DAY
    assert await store.read(["a"]) == [None]
    again = record(expires=clock.now + HOUR)
    assert await store.write([Change(again, after=None)]) == [Stored()]
    await store.expire(clock.now, 10)
    assert await store.read(["a", "b"]) == [again, Gone("one")]


async def test_usage_is_what_is_kept_of_each_tenant_and_in_all(store):
    assert await store.usage() == await store.usage("one") == Usage(0, 0)
    await store.write([creation("a", state=b"12345", answer=b"678"), creation("b", tenant="two")])
    assert await store.usage("one") == Usage(1, 8)
    assert await store.usage("two") == Usage(1, 5)
    assert await store.usage() == Usage(2, 13)
    await store.write([following(record("a"), state=b"", answer=b"")])
    assert await store.usage("one") == Usage(1, 0)
    await store.close_sessions(["a", "b"])  # one of no bytes, too
    assert await store.usage() == await store.usage("two") == Usage(0, 0)
    assert await store.read(["a", "b"]) == [Gone("one"), Gone("two")]


async def test_a_tenant_has_its_own_limit_of_sessions(opened):
    store = opened(limits=Limits(tenant_sessions=2))
    ids = ["a", "b", "c"]
    full = Full(tenant=True)
    assert await store.write([creation(id_) for id_ in ids]) == [Stored(), Stored(), full]
    assert await store.write([creation("d", tenant="two")]) == [Stored()]
    assert await store.write([following(record())]) == [Stored()]  # adds no session
    await store.close_sessions(["a"])
    assert await store.write([creation("c")]) == [Stored()]
    assert await store.write([creation("e")]) == [full]


async def test_a_tenant_has_its_own_limit_of_bytes(opened):
    store = opened(limits=Limits(tenant_bytes=10))
    await store.write([creation("a", state=b"12345")])
    assert await store.write([creation("b", state=b"123456")]) == [Full(tenant=True)]
    longer = following(record("a"), state=b"12345", answer=b"123456")
    assert await store.write([longer]) == [Full(tenant=True)]
    assert await store.read(["a", "b"]) == [record("a", state=b"12345"), None]
    assert await store.write([following(record("a"), answer=b"12345")]) == [Stored()]
    assert await store.usage() == Usage(1, 10)


async def test_the_whole_store_has_limits(opened):
    store = opened(limits=Limits(sessions=2, bytes=12))
    ids = ["a", "b", "c"]
    full = Full(tenant=False)
    outcomes = await store.write([creation(id_, tenant=id_) for id_ in ids])
    assert outcomes == [Stored(), Stored(), full]
    assert await store.write([following(record(tenant="a"), answer=b"123")]) == [full]
    assert await store.write([following(record(tenant="a"), answer=b"12")]) == [Stored()]


@pytest.mark.parametrize("tenant", [True, False])
async def test_over_a_limit_that_was_lowered_sessions_go_on_but_do_not_grow(opened, tenant):
    await opened().write([creation("a"), creation("b")])
    limits = {"tenant_bytes": 1, "tenant_sessions": 1} if tenant else {"bytes": 1, "sessions": 1}
    store = opened(limits=Limits(**limits))
    assert await store.write([following(record("a"), state=b"sixsix")]) == [Full(tenant=tenant)]
    assert await store.write([following(record("a"), state=b"kept!")]) == [Stored()]
    assert await store.write([following(record("b"), state=b"less")]) == [Stored()]


async def test_no_ids_and_no_changes_are_nothing(store):
    assert await store.read([]) == []
    assert await store.write([]) == []
    await store.close_sessions([])
    assert await store.expire(NOON + DAY, 0) == 0


async def test_thousands_of_sessions_go_in_one_call(store):
    ids = [f"{n * 7919 % 5000:05}" for n in range(5000)]
    assert await store.write([creation(id_) for id_ in ids]) == [Stored()] * 5000
    ids.reverse()
    assert await store.read(ids) == [record(id_) for id_ in ids]
    await store.close_sessions(ids[:4000])
    assert await store.read(ids) == [Gone("one")] * 4000 + [record(id_) for id_ in ids[4000:]]
    assert await store.usage("one") == Usage(1000, 5000)
    assert await store.expire(NOON + DAY, 10_000) == 1000
    assert await store.usage() == Usage(0, 0)


async def test_of_all_who_race_for_a_step_exactly_one_takes_it(opened):
    one, other = opened(), opened()
    await one.write([creation()])

    async def race(runner: int) -> list[int]:
        """Try to take each step to the tenth; return those that were."""
        store, step, taken = one if runner % 2 else other, 0, []
        while step < 10:
            change = Change(record(step=step + 1, answer=b"%d" % runner), after=step)
            (outcome,) = await store.write([change])
            taken += [step + 1] if outcome == Stored() else []
            step = step + 1 if outcome == Stored() else outcome.step
        return taken

    taken = await asyncio.gather(*(race(runner) for runner in range(50)))
    assert sorted(itertools.chain(*taken)) == list(range(1, 11))
    assert (await other.read(["a"]))[0].step == 10


async def test_two_stores_together_keep_to_the_limits(opened):
    stores = [opened(limits=Limits(tenant_sessions=25)) for _ in range(2)]
    calls = [stores[n % 2].write([creation(f"{n}")]) for n in range(100)]
    outcomes = [outcome for (outcome,) in await asyncio.gather(*calls)]
    assert outcomes.count(Stored()) == 25
    assert outcomes.count(Full(tenant=True)) == 75
    assert await stores[0].usage() == await stores[1].usage("one") == Usage(25, 125)


async def test_sessions_survive_the_store_that_wrote_them(opened):
    first = opened()
    await first.write([creation("a"), creation("b")])
    await first.close_sessions(["b"])
    await first.close()
    second = opened()
    assert await second.read(["a", "b"]) == [record("a"), Gone("one")]
    assert await second.usage() == Usage(1, 5)


async def test_callers_who_go_leave_the_others_with_their_own_answers(store):
    ids = [f"{n}" for n in range(200)]
    await store.write([creation(id_, state=id_.encode()) for id_ in ids])
    asked = [asyncio.create_task(store.read([id_])) for id_ in ids]
    for turn in range(20):
        for task in asked[turn::40]:
            task.cancel()
        await asyncio.sleep(0)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for id_, answer in zip(ids, answers, strict=True):
        expected = [record(id_, state=id_.encode())]
        assert answer == expected or isinstance(answer, asyncio.CancelledError)
    assert await store.read(["7"]) == [record("7", state=b"7")]


async def test_a_record_that_cannot_be_written_harms_its_caller_alone(store):
    calls = [store.write([creation("a")]), store.write([creation("\ud800")])]
    calls.append(store.write([creation("b")]))
    good, bad, fine = await asyncio.gather(*calls, return_exceptions=True)
    assert good == fine == [Stored()]
    assert isinstance(bad, (ValueError, TypeError))
    assert await store.usage() == Usage(2, 10)


async def test_what_was_begun_before_the_end_is_finished_and_no_more(opened):
    store = opened()
    assert await store.ready()
    begun = [asyncio.create_task(store.write([creation(f"{n}")])) for n in range(100)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*begun) == [[Stored()]] * 100
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.write([creation("late")])
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.read(["1"])
    assert not await store.ready()
    assert await opened().usage() == Usage(100, 500)


async def test_all_who_share_a_store_share_its_key_and_others_have_another(new_place):
    place = new_place()
    one, two, other = place(), place(), new_place()()
    key = await one.secret()
    assert len(key) == 32
    assert await two.secret() == await one.secret() == key
    assert await other.secret() != key
    for store in (one, two, other):
        await store.close()
