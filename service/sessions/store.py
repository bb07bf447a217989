"""The interface of a store of sessions, implemented for SQLite and Redis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from service.sessions.records import Found, Record


@dataclass(frozen=True, slots=True)
class Change:
    """A record to store, if the session is at the expected step."""

    record: Record
    after: int | None  # the step that is stored now; None: there is no such session yet


@dataclass(frozen=True, slots=True)
class Stored:
    """The change is kept, and survives what the store's durability promises."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The session is at another step; nothing was changed."""

    step: int


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such session; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Full:
    """A limit leaves no room; nothing was changed."""

    tenant: bool  # whether it is the tenant's own limit


Outcome: TypeAlias = Stored | Conflict | Missing | Full


@dataclass(frozen=True, slots=True)
class Usage:
    """What is kept: sessions, and the bytes of their states and answers."""

    sessions: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The most a store keeps, in all and of each tenant."""

    sessions: int = 1_000_000
    bytes: int = 16 << 30
    tenant_sessions: int = 100_000
    tenant_bytes: int = 4 << 30


class Store(Protocol):
    """
    Keep records of sessions.

    Every method may raise StoreUnavailable; a call that did so, timed out or was cancelled may or
    may not be carried out.  Safe for many tasks at once and, on one file or one server, for many
    processes.
    """

    async def read(self, ids: Sequence[str]) -> list[Found]:
        """Return the record of each id; an expired session is Gone from that moment on."""

    async def write(self, changes: Sequence[Change]) -> list[Outcome]:
        """
        Make each change that fits, all of them in one transaction; the ids must differ.

        A change fits if the session exists, has not expired, is of the same tenant and at the step
        ``after``, and if the limits have room for what it adds; one that adds no bytes always has
        room.  A session that was closed or has expired is Missing as long as its tombstone is
        kept, so that it cannot be created again.
        """

    async def close_sessions(self, ids: Sequence[str]) -> None:
        """Replace sessions by tombstones; unknown ids are ignored."""

    async def expire(self, now: float, limit: int) -> int:
        """Replace at most ``limit`` sessions expired by ``now`` by tombstones; return how many."""

    async def usage(self, tenant: str | None = None) -> Usage:
        """Return what is kept, of one tenant or in all; expired sessions count until ``expire``."""

    async def secret(self) -> bytes:
        """Return a random key of 32 bytes that all users of the store share for ever."""

    async def ready(self) -> bool:
        """Return whether the store reads and takes writes; never raises."""

    async def close(self) -> None:
        """Finish the calls in progress, and close files and connections."""
