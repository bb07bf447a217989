"""Sessions and bytes kept, per tenant and in all: sums in a table, exact per transaction."""

import sqlite3
from collections.abc import Iterable

from service.sessions.selection import select
from service.sessions.store import Full, Limits, Usage

ALL = "all"
OF = "of "  # before a tenant's name

USED = "SELECT scope, sessions, bytes FROM usage WHERE scope IN"
SAVE = "INSERT OR REPLACE INTO usage VALUES (?, ?, ?)"
CLEAN = "DELETE FROM usage WHERE scope = ? AND sessions = 0"


class Tally:
    """The sums of some tenants and in all, within the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, tenants: Iterable[str]) -> None:
        scopes = {ALL, *(OF + tenant for tenant in tenants)}
        self._sums = {scope: [0, 0] for scope in scopes}
        for scope, sessions, size in select(connection, USED, scopes):
            self._sums[scope] = [sessions, size]

    def usage(self, tenant: str | None) -> Usage:
        return Usage(*self._sums[ALL if tenant is None else OF + tenant])

    def refusal(self, tenant: str, sessions: int, size: int, limits: Limits) -> Full | None:
        """Return Full if the limits have no room; what adds nothing always has room."""
        own, whole = self._sums[OF + tenant], self._sums[ALL]
        if (sessions > 0 and own[0] + sessions > limits.tenant_sessions) or (
            size > 0 and own[1] + size > limits.tenant_bytes
        ):
            return Full(tenant=True)
        if (sessions > 0 and whole[0] + sessions > limits.sessions) or (
            size > 0 and whole[1] + size > limits.bytes
        ):
            return Full(tenant=False)
        return None

    def add(self, tenant: str, sessions: int, size: int) -> None:
        for sums in (self._sums[OF + tenant], self._sums[ALL]):
            sums[0] += sessions
            sums[1] += size

    def save(self, connection: sqlite3.Connection) -> None:
        """Write the sums; a tenant of no sessions leaves no row."""
        connection.executemany(SAVE, [(scope, *sums) for scope, sums in self._sums.items()])
        emptied = [(scope,) for scope, (sessions, _) in self._sums.items() if not sessions]
        connection.executemany(CLEAN, emptied)
