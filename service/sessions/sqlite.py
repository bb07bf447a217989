"""A store in one file of SQLite, for all processes of one machine."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from service.sessions.checkpoints import Checkpoints
from service.sessions.errors import StoreUnavailable
from service.sessions.records import Found
from service.sessions.rows import Rows
from service.sessions.schema import Durability, connect, prepare
from service.sessions.store import Change, Limits, Outcome, Usage
from service.sessions.transactions import Transactions

ROOM = 128 << 20  # bytes that may wait for a transaction
EVERY = 4 << 20  # bytes written between two checkpoints; about three times as much in pages
WEIGHT = 1024  # bytes of a waiting change or id, beside its blobs


class SqliteStore:
    """
    Keep sessions in the file at ``path``, which is made with its folder if it is not there.

    ``durability`` says what an acknowledged step survives: the end of this process and of any
    other, or, with "power", also that of the machine, at the price of one fsync for each
    transaction.  Writes that wait at the same time share a transaction.

    A call that raised StoreUnavailable for its time, or was cancelled, may still be made.

    Raises UnusableStore for a file that is no such store, or of another version.
    """

    KEPT = 86_400.0  # seconds that a closed or expired session is remembered

    def __init__(
        self,
        path: str | Path,
        *,
        limits: Limits = Limits(),  # noqa: B008  frozen
        durability: Durability = "process",
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        file = Path(path).absolute()  # wherever this process goes
        prepare(file, timeout)
        self._file, self._number = file, file.stat().st_ino
        self._rows = Rows(limits, self.KEPT, clock)
        opened = partial(connect, file, durability, timeout)
        self._checkpoints = Checkpoints(opened, EVERY)
        self._reader = Transactions(opened, "BEGIN", timeout=timeout, room=ROOM)
        self._writer = Transactions(
            opened,
            "BEGIN IMMEDIATE",
            timeout=timeout,
            room=ROOM,
            committed=self._checkpoints.written,
        )

    async def read(self, ids: Sequence[str]) -> list[Found]:
        return await self._reader.run(self._rows.read, ids, WEIGHT * len(ids))

    async def write(self, changes: Sequence[Change]) -> list[Outcome]:
        weight = sum(WEIGHT + change.record.size for change in changes)
        return await self._writer.run(self._rows.write, changes, weight)

    async def close_sessions(self, ids: Sequence[str]) -> None:
        await self._writer.run(self._rows.close, ids, WEIGHT * len(ids))

    async def expire(self, now: float, limit: int) -> int:
        return await self._writer.run(self._rows.expire, (now, limit), WEIGHT)

    async def usage(self, tenant: str | None = None) -> Usage:
        return await self._reader.run(self._rows.usage, tenant, WEIGHT)

    async def secret(self) -> bytes:
        return await self._reader.run(self._rows.secret, None, WEIGHT)

    async def ready(self) -> bool:
        """Return whether the file is in its place still, can be read, and takes writes, in time."""
        try:
            if not await self._reader.run(self._in_place, None, WEIGHT):
                return False
            await self._reader.run(self._rows.usage, None, WEIGHT)
            await self._writer.run(self._rows.probe, None, WEIGHT)
        except (OSError, StoreUnavailable):
            return False
        return True

    def _in_place(self, _: sqlite3.Connection, asked: Sequence[None]) -> list[bool]:
        return [self._file.stat().st_ino == self._number] * len(asked)

    async def close(self) -> None:
        await asyncio.gather(self._writer.close(), self._reader.close())
        await asyncio.to_thread(self._checkpoints.close)
