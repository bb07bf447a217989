"""A store in a Redis server, for services on several machines."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import astuple
from typing import Any, TypeVar, cast

import orjson
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from service.sessions import scripts
from service.sessions.errors import StoreUnavailable, UnusableStore
from service.sessions.records import Found, Gone, Record
from service.sessions.store import Change, Conflict, Full, Limits, Missing, Outcome, Stored, Usage

Answer = TypeVar("Answer")

FORMAT = 1  # of the keys and what is under them
CONNECTIONS = 32
SECRET = 32  # bytes
CHUNK = 1000  # ids that the server reads, or lets go of, before it does something else

REFUSALS: dict[int, Outcome] = {
    scripts.STORED: Stored(),
    scripts.MISSING: Missing(),
    scripts.TENANT_FULL: Full(tenant=True),
    scripts.FULL: Full(tenant=False),
}


class RedisStore:
    """
    Keep sessions in the Redis server at ``url``, under keys that begin with ``{prefix}``.

    The keys of a prefix are in one slot.  What an acknowledged step survives is the server's to
    say (``appendonly``, ``appendfsync``).  A server whose ``maxmemory-policy`` evicts keys loses
    sessions, and the sums of what is kept are wrong from then on: it has to be ``noeviction``.

    A call that raised StoreUnavailable, or was cancelled, may still have been made.

    Raises UnusableStore for a URL that names no server; whether it answers, ``ready`` says.
    """

    KEPT = 86_400.0  # seconds that a closed or expired session is remembered

    def __init__(
        self,
        url: str,
        *,
        limits: Limits = Limits(),  # noqa: B008  frozen
        prefix: str = "seqserve",
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            pool = ConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 0),  # what may have been done is not done again
                protocol=2,
            )
        except ValueError as error:
            # Which is not repeated, nor what is wrong with it: there may be a password in it.
            raise UnusableStore("The store's URL names no Redis server.") from error
        self._client = Redis.from_pool(pool)
        self._limits = limits
        self._timeout = timeout
        self._clock = clock
        self._free = asyncio.Semaphore(
            CONNECTIONS
        )  # first come, first served; no pool of redis-py is
        self._running = 0
        self._closed = False
        self._idle = asyncio.Event()  # nothing runs, nor will any more
        self._prefix = f"{{{prefix}}}:{FORMAT}:"
        self._sums = self._prefix + "sums"
        self._expiries = self._prefix + "expires"
        self._read = self._client.register_script(scripts.READ)
        self._write = self._client.register_script(scripts.WRITE)
        self._let_go = self._client.register_script(scripts.LET_GO)

    async def read(self, ids: Sequence[str]) -> list[Found]:
        found: list[Found] = []
        for chunk in _chunks(ids):
            rows = await self._ask(self._read, self._keys(chunk), [self._clock()])
            found += [_found(row) for row in rows]
        return found

    async def write(self, changes: Sequence[Change]) -> list[Outcome]:
        keys = self._keys([change.record.id for change in changes])
        values: list[str | int | float | bytes] = [self._clock(), *astuple(self._limits)]
        for change in changes:
            values += _values(change)
        codes = await self._ask(self._write, keys, values)
        return [REFUSALS.get(code) or Conflict(code) for code in codes]

    async def close_sessions(self, ids: Sequence[str]) -> None:
        for chunk in _chunks(ids):
            await self._bury(chunk, self._clock(), "")

    async def expire(self, now: float, limit: int) -> int:
        expired: list[Any] = await self._ask(
            self._client.zrangebyscore, self._expiries, "-inf", now, 0, limit
        )
        ids = [id_.decode() for id_ in expired]
        return sum([await self._bury(chunk, now, now) for chunk in _chunks(ids)])

    async def usage(self, tenant: str | None = None) -> Usage:
        suffix = "" if tenant is None else f":{tenant}"
        names = [f"sessions{suffix}", f"bytes{suffix}"]
        sums = await self._ask(self._client.hmget, self._sums, names)
        return Usage(*(int(number or 0) for number in sums))

    async def secret(self) -> bytes:
        name = self._prefix + "secret"
        await self._ask(self._client.setnx, name, secrets.token_bytes(SECRET))
        key = await self._ask(self._client.get, name)
        return cast(bytes, key)

    async def ready(self) -> bool:
        try:
            # A server that is full, or a replica, answers a ping but takes no writes.
            await self._ask(self._client.set, self._prefix + "probe", "1")
        except StoreUnavailable:
            return False
        return True

    async def close(self) -> None:
        self._closed = True
        if self._running:
            await self._idle.wait()
        await self._client.aclose(close_connection_pool=True)

    async def _bury(self, ids: Sequence[str], now: float, before: float | str) -> int:
        """Leave tombstones; if ``before`` is a time, only of those that had expired then."""
        values = [before, now + self.KEPT, int(1000 * self.KEPT), *ids]
        count: int = await self._ask(self._let_go, self._keys(ids), values)
        return count

    async def _ask(self, ask: Callable[..., Awaitable[Answer]], *values: object) -> Answer:
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        self._running += 1
        try:
            async with asyncio.timeout(self._timeout), self._free:
                return await ask(*values)
        except TimeoutError:
            raise StoreUnavailable(f"No answer in {self._timeout:g} s.") from None
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis: {error}") from error
        finally:
            self._running -= 1
            if self._closed and not self._running:
                self._idle.set()

    def _keys(self, ids: Iterable[str]) -> list[str]:
        return [self._sums, self._expiries, *(f"{self._prefix}of:{id_}" for id_ in ids)]


def _values(change: Change) -> tuple[str | int | float | bytes, ...]:
    """Return what WRITE takes of a change."""
    record = change.record
    after = "" if change.after is None else change.after
    packed = _pack(record)
    return after, record.id, record.tenant, record.step, record.size, record.expires, packed


def _pack(record: Record) -> bytes:
    """Write a record: a line of JSON, which says how long the blobs behind it are."""
    head = (
        record.id,
        record.tenant,
        record.model,
        record.version,
        record.model_hash,
        record.step,
        record.created,
        record.touched,
        record.expires,
        len(record.state),
        len(record.request),
    )
    return b"".join((orjson.dumps(head), b"\n", record.state, record.request, record.answer))


def _found(row: bytes | list[bytes] | None) -> Found:
    """Read what READ answers: a packed record, the tenant of a tombstone, or nothing."""
    if row is None:
        return None
    if isinstance(row, list):
        return Gone(row[0].decode())
    line = row.index(b"\n")
    id_, tenant, model, version, model_hash, step, *times, state, request = orjson.loads(row[:line])
    start = line + 1
    middle = start + state
    end = middle + request
    blobs = row[start:middle], row[middle:end], row[end:]
    return Record(id_, tenant, model, version, model_hash, step, *blobs, *times)


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
