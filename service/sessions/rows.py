"""The SQL of the SQLite store: what each call reads and writes; no threads."""

import itertools
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from service.sessions.records import Found, Gone, Record
from service.sessions.selection import lists, select
from service.sessions.store import Change, Conflict, Limits, Missing, Outcome, Stored, Usage
from service.sessions.tally import Tally

HEADS = "SELECT id, tenant, step, size, expires <= ? FROM session WHERE id IN"
RECORDS = (
    "SELECT id, tenant, model, version, model_hash, step, state, request, answer,"
    " created, touched, expires FROM session WHERE id IN"
)
TOMBS = "SELECT id, tenant FROM gone WHERE forget > ? AND id IN"
KEEP = (
    "INSERT INTO session (id, tenant, model, version, model_hash, step, state, request, answer,"
    " created, touched, expires, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET model = excluded.model, version = excluded.version,"
    " model_hash = excluded.model_hash, step = excluded.step, state = excluded.state,"
    " request = excluded.request, answer = excluded.answer, created = excluded.created,"
    " touched = excluded.touched, expires = excluded.expires, size = excluded.size"
)
SUMS = "SELECT tenant, count(*), sum(size) FROM session WHERE id IN"
BURY = "INSERT OR REPLACE INTO gone SELECT id, tenant, ? FROM session WHERE id IN"
REMOVE = "DELETE FROM session WHERE id IN"
EXPIRED = "SELECT id FROM session WHERE expires <= ? ORDER BY expires LIMIT ?"
# Of more tombstones than there may be sessions the oldest are forgotten before their time.
TRIM = (
    "DELETE FROM gone WHERE id IN (SELECT id FROM gone ORDER BY forget"
    " LIMIT max(0, min(?, (SELECT count(*) FROM gone) - ?)))"
)
FORGET = "DELETE FROM gone WHERE id IN (SELECT id FROM gone WHERE forget <= ? LIMIT ?)"


class _Head(NamedTuple):
    """What decides whether a change fits."""

    tenant: str
    step: int
    size: int
    expired: bool


class Rows:
    """The calls of a store, each for several callers at once, inside a transaction."""

    def __init__(self, limits: Limits, kept: float, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._kept = kept  # seconds that a tombstone stands
        self._clock = clock

    def read(self, connection: sqlite3.Connection, calls: list[Sequence[str]]) -> list[list[Found]]:
        now = self._clock()
        ids = set(itertools.chain(*calls))
        found: dict[str, Found] = {}
        for row in select(connection, RECORDS, ids):
            record = Record(*row)
            found[record.id] = Gone(record.tenant) if record.expires <= now else record
        for id_, tenant in select(connection, TOMBS, ids - found.keys(), now):
            found[id_] = Gone(tenant)
        return [[found.get(id_) for id_ in call] for call in calls]

    def write(
        self, connection: sqlite3.Connection, calls: list[Sequence[Change]]
    ) -> list[list[Outcome]]:
        page = _Page(connection, list(itertools.chain(*calls)), self._limits, self._clock())
        outcomes = [[page.make(change) for change in call] for call in calls]
        page.save(connection)
        return outcomes

    def close(self, connection: sqlite3.Connection, calls: list[Sequence[str]]) -> list[None]:
        self._let_go(connection, set(itertools.chain(*calls)), self._clock())
        return [None] * len(calls)

    def expire(self, connection: sqlite3.Connection, calls: list[tuple[float, int]]) -> list[int]:
        counts = []
        for now, limit in calls:
            ids = [id_ for (id_,) in connection.execute(EXPIRED, (now, limit))]
            self._let_go(connection, ids, now)
            connection.execute(FORGET, (now, limit))
            connection.execute(TRIM, (limit, self._limits.sessions))
            counts.append(len(ids))
        return counts

    def usage(self, connection: sqlite3.Connection, calls: list[str | None]) -> list[Usage]:
        tally = Tally(connection, {tenant for tenant in calls if tenant is not None})
        return [tally.usage(tenant) for tenant in calls]

    def secret(self, connection: sqlite3.Connection, calls: list[None]) -> list[bytes]:
        (key,) = connection.execute("SELECT key FROM secret").fetchone()
        return [key] * len(calls)

    def probe(self, connection: sqlite3.Connection, calls: list[None]) -> list[None]:
        """Write something, to find out whether the disk is full."""
        connection.execute("UPDATE probe SET times = times + 1")
        return [None] * len(calls)

    def _let_go(self, connection: sqlite3.Connection, ids: Iterable[str], now: float) -> None:
        for marks, listed in lists(ids):
            sums = connection.execute(f"{SUMS} {marks} GROUP BY tenant", listed).fetchall()
            tally = Tally(connection, [tenant for tenant, _, _ in sums])
            for tenant, sessions, size in sums:
                tally.add(tenant, -sessions, -size)
            tally.save(connection)
            connection.execute(f"{BURY} {marks}", [now + self._kept, *listed])
            connection.execute(f"{REMOVE} {marks}", listed)


class _Page:
    """The changes of one transaction: what is stored before them, updated by each."""

    def __init__(
        self, connection: sqlite3.Connection, changes: Sequence[Change], limits: Limits, now: float
    ) -> None:
        self._limits = limits
        self._now = now
        self._kept: dict[str, Record] = {}
        ids = {change.record.id for change in changes}
        self._heads = {row[0]: _Head(*row[1:]) for row in select(connection, HEADS, ids, now)}
        new = {change.record.id for change in changes if change.after is None}
        buried = select(connection, TOMBS, new - self._heads.keys(), now)
        self._gone = {id_ for id_, _ in buried}
        self._tally = Tally(connection, {change.record.tenant for change in changes})

    def make(self, change: Change) -> Outcome:
        record = change.record
        head = self._heads.get(record.id)
        if head is None:
            if change.after is not None or record.id in self._gone:
                return Missing()
        elif head.expired or head.tenant != record.tenant:
            return Missing()
        elif head.step != change.after:
            return Conflict(head.step)
        return self._keep(record, head)

    def save(self, connection: sqlite3.Connection) -> None:
        """Write the changes that were made."""
        connection.executemany(KEEP, [_row(record) for record in self._kept.values()])
        self._tally.save(connection)

    def _keep(self, record: Record, head: _Head | None) -> Outcome:
        size = record.size
        sessions, added = (1, size) if head is None else (0, size - head.size)
        refusal = self._tally.refusal(record.tenant, sessions, added, self._limits)
        if refusal is not None:
            return refusal
        self._tally.add(record.tenant, sessions, added)
        expired = record.expires <= self._now
        self._heads[record.id] = _Head(record.tenant, record.step, size, expired)
        self._kept[record.id] = record
        return Stored()


def _row(record: Record) -> tuple[str | float | bytes, ...]:
    """Return the values that KEEP takes."""
    return (
        record.id,
        record.tenant,
        record.model,
        record.version,
        record.model_hash,
        record.step,
        record.state,
        record.request,
        record.answer,
        record.created,
        record.touched,
        record.expires,
        record.size,
    )
