"""A log that is written to without a pause begins anew all the same."""

import sqlite3

import pytest

from service.sessions.checkpoints import Checkpoints
from tests.doubles import PATIENCE

WRITES = 5000
PAGE = 4096


@pytest.fixture
def path(tmp_path):
    return tmp_path / "numbers.db"


@pytest.fixture
def writer(path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE number (value INTEGER)")
    yield connection
    connection.close()


def write(writer, checkpoints) -> None:
    for number in range(WRITES):
        writer.execute("INSERT INTO number VALUES (?)", (number,))
        checkpoints.written(writer, PAGE)
        if number % 100 == 0 and checkpoints._first_half is not None:
            checkpoints._first_half.result(PATIENCE)  # a busy machine may starve the thread
    checkpoints.close()


def test_the_log_does_not_grow_with_what_is_written(path, writer):
    write(writer, Checkpoints(lambda: sqlite3.connect(path), every=20 * PAGE))
    log = path.with_name("numbers.db-wal")
    assert log.stat().st_size < WRITES * PAGE / 2  # each write is a page of it, at least
    other = sqlite3.connect(path)
    assert other.execute("SELECT count(*) FROM number").fetchone() == (WRITES,)
    other.close()


def test_a_thread_that_cannot_open_the_file_stops_nobody(tmp_path, path, writer):
    write(writer, Checkpoints(lambda: sqlite3.connect(tmp_path), every=20 * PAGE))
    assert path.with_name("numbers.db-wal").stat().st_size < WRITES * PAGE / 2


def test_few_writes_are_left_in_the_log(path, writer):
    checkpoints = Checkpoints(lambda: sqlite3.connect(path), every=2 * WRITES * PAGE)
    write(writer, checkpoints)
    assert path.with_name("numbers.db-wal").stat().st_size > WRITES * PAGE
