"""What goes wrong with a server: it dies, hangs, is full, forgets; and what is left then."""

import asyncio
import signal
from collections import Counter

import pytest

from service.sessions.errors import StoreUnavailable, UnusableStore
from service.sessions.records import Gone
from service.sessions.redis import RedisStore
from service.sessions.store import Change, Stored, Usage
from tests.doubles import PATIENCE, within
from tests.sessions.kept import DAY, HOUR, Clock, creation, following, record
from tests.sessions.server import RedisServer


@pytest.fixture
def server():
    """Return a server of the test's own, which keeps what it acknowledges."""
    server = RedisServer("--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.stop()


@pytest.fixture
def told(server):
    """Return a connection of the test's own, for what no store does."""
    with server.client() as client:
        yield client


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(server, clock):
    store = RedisStore(server.url, timeout=PATIENCE, clock=clock)
    yield store
    await store.close()


async def test_a_server_that_was_killed_has_all_it_acknowledged(server, store):
    ids = [f"{n}" for n in range(100)]
    await asyncio.gather(*(store.write([creation(id_)]) for id_ in ids))
    await store.write([following(record("7"))])
    await store.close_sessions(["8"])
    server.kill()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await within(store.write([creation("a")]))
    assert not await within(store.ready())
    server.start()
    assert await within(store.write([creation("a")])) == [Stored()]
    assert await store.read(["7", "8"]) == [record("7", step=1), Gone("one")]
    assert await store.usage() == Usage(100, 500)
    assert await store.ready()


async def test_a_server_that_hangs_is_unavailable_and_then_answers_each_its_own(server, clock):
    store = RedisStore(server.url, timeout=1.0, clock=clock)
    await store.write([creation("a"), creation("b")])
    server.signal(signal.SIGSTOP)
    calls = [store.read(["a"]), store.write([following(record())]), store.read(["b"])]
    outcomes = await within(asyncio.gather(*calls, return_exceptions=True))
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    server.signal(signal.SIGCONT)
    assert await store.read(["b"]) == [record("b")]
    (kept,) = await store.read(["a"])
    assert kept.step in {0, 1}  # nothing is known of a call that had no answer
    await store.close()


async def test_a_server_without_memory_changes_nothing_but_lets_sessions_go(store, told):
    await store.write([creation("a"), creation("b")])
    told.config_set("maxmemory", 1)
    for change in (creation("c"), following(record())):
        with pytest.raises(StoreUnavailable, match="memory"):
            await store.write([change])
    assert await store.read(["a", "c"]) == [record(), None]
    await store.close_sessions(["b"])
    assert await store.usage() == Usage(1, 5)
    told.config_set("maxmemory", 0)
    assert await store.write([following(record())]) == [Stored()]


async def test_a_replica_can_be_read_but_not_written(store, told):
    await store.write([creation()])
    told.replicaof("127.0.0.1", 1)
    with pytest.raises(StoreUnavailable, match="replica"):
        await store.write([following(record())])
    assert await store.read(["a"]) == [record()]
    told.replicaof("NO", "ONE")
    assert await store.write([following(record())]) == [Stored()]


async def test_a_server_that_forgot_the_scripts_is_told_them_again(store, told):
    await store.write([creation()])
    told.script_flush()
    assert await store.write([following(record())]) == [Stored()]
    assert await store.read(["a"]) == [record(step=1)]
    told.script_flush()
    await store.close_sessions(["a"])
    assert await store.read(["a"]) == [Gone("one")]


async def test_a_tombstone_keeps_no_bytes_and_goes_by_itself(store, told, clock):
    await store.write([creation("a", state=b"secret")])
    key = "{seqserve}:1:of:a"
    assert told.pttl(key) == -1
    await store.close_sessions(["a"])
    assert b"secret" not in b"".join(told.hgetall(key).values())
    assert 0 < told.pttl(key) <= 1000 * DAY
    clock.now += DAY
    await store.write([creation("a", expires=clock.now + HOUR)])
    assert told.pttl(key) == -1


async def test_nothing_is_left_of_sessions_but_their_tombstones(store, told):
    await store.write([creation(f"{n}", tenant=f"{n}") for n in range(10)])
    assert all(key.startswith(b"{seqserve}:") for key in told.keys())  # noqa: SIM118  no dict
    await store.close_sessions([f"{n}" for n in range(5)])
    assert await store.expire(record().expires, 100) == 5
    told.delete(*(f"{{seqserve}}:1:of:{n}" for n in range(10)))
    assert told.keys() == []


async def test_a_prefix_is_a_store_of_its_own(server, store):
    other = RedisStore(server.url, prefix="other", clock=Clock())
    await store.write([creation()])
    assert await other.read(["a"]) == [None]
    assert await other.write([creation()]) == [Stored()]
    await other.close()
    assert await store.usage() == Usage(1, 5)


async def test_more_callers_than_connections_are_all_answered(store, told):
    ids = [f"{n}" for n in range(500)]
    outcomes = await within(asyncio.gather(*(store.write([creation(id_)]) for id_ in ids)))
    assert outcomes == [[Stored()]] * 500
    assert told.info("clients")["connected_clients"] <= 40


async def test_who_waits_for_a_connection_is_not_overtaken(store):
    served = Counter()

    async def ask(caller: int) -> None:
        while served.total() < 5000:
            await store.read(["a"])
            served[caller] += 1

    await within(asyncio.gather(*(ask(caller) for caller in range(100))), 60)
    assert min(served[caller] for caller in range(100)) >= 40


async def test_a_session_of_no_bytes_is_let_go(store):
    await store.write([Change(record(state=b""), after=None)])
    await store.close_sessions(["a"])
    assert await store.usage() == await store.usage("one") == Usage(0, 0)


async def test_where_no_server_is_the_store_is_not_ready(tmp_path):
    store = RedisStore(f"unix://{tmp_path}/nobody")
    assert not await within(store.ready())
    with pytest.raises(StoreUnavailable):
        await within(store.usage())
    await store.close()


@pytest.mark.parametrize("url", ["http://localhost", "redis://localhost:port", "localhost:6379"])
def test_a_url_that_names_no_server_is_refused(url):
    with pytest.raises(UnusableStore, match="Redis"):
        RedisStore(url)
