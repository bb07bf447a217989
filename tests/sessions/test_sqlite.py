"""What goes wrong with a file: others who hold it, a full disk, a kill; and what is left then."""

import asyncio
import contextlib
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter

import pytest

from service.sessions.errors import StoreUnavailable, UnusableStore
from service.sessions.schema import connect, prepare
from service.sessions.sqlite import SqliteStore
from service.sessions.store import Limits, Stored, Usage
from tests.doubles import PATIENCE, within
from tests.sessions import writers
from tests.sessions.kept import NOON, Clock, creation, following, record


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


@pytest.fixture
async def store(path):
    store = SqliteStore(path, timeout=1.0, clock=Clock())
    yield store
    await store.close()


@contextlib.contextmanager
def file_limit(size):
    """Let no file of this process grow beyond ``size``, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def run(name, path, argument) -> subprocess.Popen:
    """Start one of the writers in a process of its own."""
    command = [sys.executable, "-m", writers.__name__, name, str(path), str(argument)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_a_file_that_another_holds_is_unavailable_and_then_well_again(store, path):
    await store.write([creation("a")])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await within(store.write([following(record())]))
    assert not await within(store.ready())
    assert await store.read(["a"]) == [record()]  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    await within(eventually_ready(store))
    assert await store.write([creation("b")]) == [Stored()]
    assert await store.usage() == Usage(2, 10)


async def eventually_ready(store) -> None:
    while not await store.ready():
        pass


async def test_a_file_that_is_held_for_a_moment_is_waited_for(path):
    store = SqliteStore(path, timeout=PATIENCE, clock=Clock())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(store.write([creation("a")]))
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    other.execute("COMMIT")
    other.close()
    assert await within(task) == [Stored()]
    await store.close()


async def test_a_full_disk_changes_nothing_and_room_on_it_is_found_again(store):
    await store.write([creation("a")])
    large = [creation(f"{n}", state=bytes(100_000)) for n in range(20)]
    with file_limit(500_000):
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.write(large)
        assert await store.read(["a", "0", "19"]) == [record("a"), None, None]
        assert await store.usage() == Usage(1, 5)
    assert await store.write([following(record()), *large]) == [Stored()] * 21
    assert await store.usage() == Usage(21, 5 + 20 * 100_000)


async def test_a_damaged_file_is_unavailable_until_it_is_put_right(path):
    first = SqliteStore(path, clock=Clock())
    await first.write([creation(f"{n}", state=bytes(5000)) for n in range(50)])
    await first.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xa5" * (len(whole) - 100))
    with pytest.raises(UnusableStore):
        SqliteStore(path)
    path.write_bytes(whole)
    store = SqliteStore(path, clock=Clock())
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * (len(whole) - 8192))
    with pytest.raises(StoreUnavailable, match="malformed"):
        await store.read(["7"])
    with pytest.raises(StoreUnavailable, match="malformed"):
        await store.write([creation("a")])
    path.write_bytes(whole)
    assert await store.read(["7"]) == [record("7", state=bytes(5000))]
    assert await store.write([creation("a")]) == [Stored()]
    await store.close()


async def test_a_file_that_is_taken_away_is_not_made_anew(path):
    store = SqliteStore(path)
    path.unlink()
    with pytest.raises(StoreUnavailable, match="open"):
        await store.usage()
    assert not path.exists()
    await store.close()


@pytest.mark.parametrize("durability", ["process", "power"])
async def test_what_a_killed_process_acknowledged_is_there(path, durability):
    process = run("step", path, durability)
    acknowledged = {}
    for _ in range(2000):
        id_, step = process.stdout.readline().split()
        acknowledged[id_] = int(step)
    process.send_signal(signal.SIGKILL)
    with process.stdout:
        rest = process.stdout.read()  # its buffer, too, which ``communicate`` would lose
    process.wait(PATIENCE)
    acknowledged |= {line.split()[0]: int(line.split()[1]) for line in rest.splitlines()}
    store = SqliteStore(path, clock=Clock())
    for id_, kept in zip(acknowledged, await store.read(list(acknowledged)), strict=True):
        assert kept.step in {acknowledged[id_], acknowledged[id_] + 1}
        assert kept.state == writers.state(id_, kept.step)
    usage = await store.usage()
    await store.close()
    with sqlite3.connect(path) as connection:
        (sums,) = connection.execute("SELECT count(*), sum(size) FROM session")
        assert usage == Usage(*sums)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_of_two_processes_that_race_one_takes_each_step(path, store):
    await store.write([creation("a")])
    processes = [run("race", path, 200) for _ in range(2)]
    taken = Counter()
    for process in processes:
        output, _ = await asyncio.to_thread(process.communicate, timeout=60)
        taken.update(output.split())
    assert taken == Counter(f"{step}" for step in range(1, 201))
    assert (await store.read(["a"]))[0].step == 200


async def test_many_may_open_a_new_file_at_the_same_moment(tmp_path):
    together = threading.Barrier(6)

    def open_one(path) -> None:
        together.wait(PATIENCE)
        prepare(path, PATIENCE)

    for turn in range(30):
        path = tmp_path / f"{turn}" / "sessions.db"
        await asyncio.gather(*(asyncio.to_thread(open_one, path) for _ in range(6)))


async def test_power_waits_for_the_disk_at_every_commit(path):
    await SqliteStore(path).close()
    for durability, level in (("process", 1), ("power", 2)):
        connection = connect(path, durability, 1.0)
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()


def test_what_is_no_store_is_refused_at_open_and_left_as_it_is(path, tmp_path):
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(UnusableStore, match="not a database"):
        SqliteStore(path)
    assert path.read_bytes() == b"Dear diary, " * 1000
    with pytest.raises(UnusableStore, match="Cannot open"):
        SqliteStore(tmp_path)
    with pytest.raises(UnusableStore, match="Cannot open"):
        SqliteStore(path / "sessions.db")


def test_another_programs_database_is_left_alone(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE diary (day TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UnusableStore, match="another program"):
        SqliteStore(path)
    assert path.read_bytes() == before


async def test_a_file_of_a_later_version_is_refused(path):
    await SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(UnusableStore, match="version 3"):
        SqliteStore(path)


@pytest.mark.parametrize("lacks", ["DROP TABLE probe", ""], ids=["without probe", "with it"])
async def test_a_file_of_the_first_version_goes_on(path, lacks):
    first = SqliteStore(path)
    await first.write([creation()])
    await first.close()
    with sqlite3.connect(path) as connection:
        connection.execute(lacks)
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    store = SqliteStore(path)
    assert await store.ready()
    assert (await store.usage()).sessions == 1
    await store.close()


async def test_a_tombstone_keeps_no_bytes_and_goes_in_a_day(path):
    clock = Clock()
    store = SqliteStore(path, clock=clock)
    await store.write([creation()])
    await store.close_sessions(["a"])
    connection = sqlite3.connect(path)

    def rows(table) -> list:
        return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  ours

    assert rows("session") == []
    assert rows("gone") == [("a", "one", clock.now + store.KEPT)]
    assert rows("usage") == []  # nor is anything left of the tenant
    clock.now += store.KEPT
    assert await store.expire(clock.now, 10) == 0
    assert rows("gone") == []
    connection.close()
    await store.close()


async def test_a_store_whose_file_was_taken_away_is_not_ready(tmp_path):
    file = tmp_path / "sessions.db"
    store = SqliteStore(file)
    assert await store.ready()
    file.rename(tmp_path / "elsewhere.db")
    assert not await store.ready()
    (tmp_path / "elsewhere.db").rename(file)
    assert await store.ready()
    file.unlink()
    SqliteStore(file)
    assert not await store.ready()
    await store.close()


async def test_no_more_tombstones_stand_than_there_may_be_sessions(tmp_path):
    store = SqliteStore(tmp_path / "sessions.db", limits=Limits(sessions=3), clock=Clock())
    for number in range(8):
        await store.write([creation(f"s{number}")])
        await store.close_sessions([f"s{number}"])
    assert await store.expire(NOON, 100) == 0
    found = await store.read([f"s{number}" for number in range(8)])
    assert sum(one is not None for one in found) == 3
    await store.close()
