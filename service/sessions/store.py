"""What keeps sessions: one small interface, which SQLite and Redis fill in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from service.sessions.records import Found, Record


@dataclass(frozen=True, slots=True)
class Change:
    """A record to keep if the session stands where it should."""

    record: Record
    after: int | None  # the step that is stored now; None: there is no such session yet


@dataclass(frozen=True, slots=True)
class Stored:
    """The change is kept, and survives what the store's durability promises."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The session stands at another step; nothing was changed."""

    step: int


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such session any more; nothing was changed."""


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
    """How much a store takes, in all and of each tenant."""

    sessions: int = 1_000_000
    bytes: int = 16 << 30
    tenant_sessions: int = 100_000
    tenant_bytes: int = 4 << 30


class Store(Protocol):
    """
    Keep records; every method may raise StoreUnavailable, and then nothing is known to be changed.

    A call that ran out of time, or whose caller was cancelled, may still be made afterwards.

    Safe to be called from many tasks at once, and, on one file or one server, from many processes.
    """

    async def read(self, ids: Sequence[str]) -> list[Found]:
        """Return what is kept under each id; an expired session is Gone at once."""

    async def write(self, changes: Sequence[Change]) -> list[Outcome]:
        """
        Make each change if it still fits, all that fit in one transaction.

        A change fits if the session is there, not expired, of the same tenant, and its step is
        ``after``, and if the limits have room for what it adds; one that adds no bytes always has
        room.  A session that was closed or has expired is Missing as long as it is remembered, so
        that creating it once more does not bring it back.  The ids differ from each other.
        """

    async def close_sessions(self, ids: Sequence[str]) -> None:
        """Forget the sessions, remembering that they were there; unknown ids are passed over."""

    async def expire(self, now: float, limit: int) -> int:
        """Let go of at most ``limit`` sessions that expired before ``now``; return how many."""

    async def usage(self, tenant: str | None = None) -> Usage:
        """Return what is kept, of one tenant or in all; what has expired counts until let go."""

    async def secret(self) -> bytes:
        """Return a random key of 32 bytes, the same to all who share the store, for ever."""

    async def ready(self) -> bool:
        """Return whether the store answers; never raises."""

    async def close(self) -> None:
        """Finish what was begun, and let go of files and connections."""
