"""Checkpoint SQLite's write-ahead log in a thread beside the writer, not within its commits."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress

CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"  # as much as readers allow, without waiting


class Checkpoints:
    """
    Checkpoint a log in two halves, each time about ``every`` bytes were written.

    SQLite does so within a COMMIT, while all its callers wait for the disk.  Here a thread moves
    most of the log while the writer goes on.  What was written meanwhile is moved by the writer
    between two transactions: a log starts again from its beginning, instead of growing, only
    after all of it was moved.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], every: int) -> None:
        self._connect = connect
        self._every = every
        self._written = 0
        self._thread = ThreadPoolExecutor(1, "sqlite checkpoint")
        self._first_half: Future[None] | None = None

    def written(self, connection: sqlite3.Connection, size: int) -> None:
        """Note a commit of about so many bytes; called by the writer's thread."""
        self._written += size
        if self._first_half is not None and self._first_half.done():
            self._first_half = None
            connection.execute(CHECKPOINT).fetchall()
        elif self._first_half is None and self._written >= self._every:
            self._written = 0
            self._first_half = self._thread.submit(self._move)

    def close(self) -> None:
        """Wait for the thread to end; call it when nothing is written any more."""
        self._thread.shutdown()

    def _move(self) -> None:
        # After an error the log grows until a later checkpoint, ours or SQLite's own.
        with suppress(sqlite3.Error), closing(self._connect()) as connection:
            connection.execute(CHECKPOINT).fetchall()
