"""What was committed goes from SQLite's log to its place beside the writing, not in its way."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress

CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"  # of all that readers let go; waits for nobody


class Checkpoints:
    """
    Checkpoint a log in two halves, each time that ``every`` bytes were written.

    SQLite does it within a COMMIT, and all its callers wait for the disk.  Here a thread moves
    most of the log while others write.  What they wrote meanwhile is moved by the writer, between
    two transactions: only a log that was moved to its end begins anew instead of growing.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], every: int) -> None:
        self._connect = connect
        self._every = every
        self._written = 0
        self._thread = ThreadPoolExecutor(1, "sqlite checkpoint")
        self._first_half: Future[None] | None = None

    def written(self, connection: sqlite3.Connection, size: int) -> None:
        """Take note of a commit of about so many bytes; called by the writer's thread."""
        self._written += size
        if self._first_half is not None and self._first_half.done():
            self._first_half = None
            connection.execute(CHECKPOINT).fetchall()
        elif self._first_half is None and self._written >= self._every:
            self._written = 0
            self._first_half = self._thread.submit(self._move)

    def close(self) -> None:
        """Wait for the thread; called when nothing is written any more."""
        self._thread.shutdown()

    def _move(self) -> None:
        # A log that could not be moved grows until it can; that much SQLite sees to itself.
        with suppress(sqlite3.Error), closing(self._connect()) as connection:
            connection.execute(CHECKPOINT).fetchall()
