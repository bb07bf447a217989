"""What waits together is committed together, and every caller hears of it."""

import asyncio
import sqlite3
import threading

import pytest

from service.sessions.errors import StoreUnavailable
from service.sessions.transactions import Transactions
from tests.doubles import PATIENCE, within


class Notes:
    """A table of notes, a trace of what the connection was told, and a door to hold work at."""

    def __init__(self, path) -> None:
        self.path = path
        self.statements = []
        self.entered = threading.Semaphore(0)
        self.door = threading.Event()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE note (text TEXT)")
        connection.close()

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.set_trace_callback(self.statements.append)
        return connection

    def add(self, connection, texts) -> list[str]:
        for text in texts:
            if text == "bad":
                raise ValueError(text)
            connection.execute("INSERT INTO note VALUES (?)", (text,))
        return [text.upper() for text in texts]

    def hold(self, _, calls) -> list[None]:
        self.entered.release()
        assert self.door.wait(PATIENCE)
        return calls

    def fail(self, connection, _) -> list[None]:
        connection.execute("INSERT INTO note VALUES ('lost')")
        connection.execute("INSERT INTO nothing VALUES (1)")
        raise AssertionError

    def kept(self) -> list[str]:
        connection = sqlite3.connect(self.path)
        rows = [text for (text,) in connection.execute("SELECT text FROM note ORDER BY rowid")]
        connection.close()
        return rows


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path / "notes.db")


@pytest.fixture
async def transactions(notes):
    thread = Transactions(notes.connect, "BEGIN IMMEDIATE", timeout=PATIENCE, room=10)
    yield thread
    notes.door.set()
    await thread.close()


async def held(transactions, notes) -> asyncio.Task:
    """Begin a transaction that stays open until the door is opened."""
    task = asyncio.create_task(transactions.run(notes.hold, None, 1))
    assert await asyncio.to_thread(notes.entered.acquire, timeout=PATIENCE)
    return task


async def waiting(calls) -> list[asyncio.Task]:
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0)
    return tasks


async def test_all_that_wait_share_one_commit_and_keep_their_order(transactions, notes):
    first = await held(transactions, notes)
    tasks = await waiting(transactions.run(notes.add, f"{n}", 1) for n in range(10))
    notes.door.set()
    assert await within(asyncio.gather(first, *tasks)) == [None, *"0123456789"]
    assert notes.statements.count("COMMIT") == 2
    assert notes.kept() == list("0123456789")


async def test_what_finds_no_room_is_refused_at_once(transactions, notes):
    first = await held(transactions, notes)
    (heavy,) = await waiting([transactions.run(notes.add, "a", 1000)])  # nothing waited
    with pytest.raises(StoreUnavailable, match="waits"):
        await transactions.run(notes.add, "b", 1)
    notes.door.set()
    await within(asyncio.gather(first, heavy))
    assert await within(transactions.run(notes.add, "c", 1)) == "C"
    assert notes.kept() == ["a", "c"]


async def test_a_call_whose_caller_has_gone_is_not_made(transactions, notes):
    first = await held(transactions, notes)
    tasks = await waiting(transactions.run(notes.add, text, 1) for text in "abc")
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    notes.door.set()
    await within(asyncio.gather(first, tasks[0], tasks[2]))
    assert notes.kept() == ["a", "c"]


async def test_a_call_that_fails_by_itself_fails_alone(transactions, notes):
    first = await held(transactions, notes)
    tasks = await waiting(transactions.run(notes.add, text, 1) for text in ("a", "bad", "b"))
    notes.door.set()
    answers = await within(asyncio.gather(first, *tasks, return_exceptions=True))
    assert answers[1::2] == ["A", "B"]
    assert isinstance(answers[2], ValueError)
    assert notes.kept() == ["a", "b"]


async def test_what_the_database_refuses_is_undone_for_all_and_the_next_one_works(
    transactions, notes
):
    first = await held(transactions, notes)
    calls = [transactions.run(notes.add, "a", 1), transactions.run(notes.fail, None, 1)]
    tasks = await waiting(calls)
    notes.door.set()
    answers = await within(asyncio.gather(first, *tasks, return_exceptions=True))
    assert [type(answer) for answer in answers[1:]] == [StoreUnavailable] * 2
    assert "nothing" in str(answers[1])
    assert await within(transactions.run(notes.add, "b", 1)) == "B"
    assert notes.kept() == ["b"]


async def test_a_checkpoint_that_finds_no_thread_ends_no_transactions(notes):
    def no_thread(_connection, _weight):
        raise RuntimeError("can't start new thread")

    thread = Transactions(notes.connect, "BEGIN", timeout=1, room=10, committed=no_thread)
    assert [await within(thread.run(notes.add, text, 1)) for text in "ab"] == ["A", "B"]
    await within(thread.close())


async def test_who_waits_too_long_is_told_so(notes):
    thread = Transactions(notes.connect, "BEGIN", timeout=0.05, room=10)
    with pytest.raises(StoreUnavailable, match=r"0\.05 s"):
        await within(thread.run(notes.hold, None, 1))
    notes.door.set()
    await within(thread.close())


async def test_the_end_comes_after_what_waits(transactions, notes):
    first = await held(transactions, notes)
    tasks = await waiting(transactions.run(notes.add, text, 1) for text in "ab")
    closing = asyncio.create_task(transactions.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="closed"):
        await transactions.run(notes.add, "c", 1)
    notes.door.set()
    assert await within(asyncio.gather(first, *tasks, closing)) == [None, "A", "B", None]
    assert notes.kept() == ["a", "b"]
