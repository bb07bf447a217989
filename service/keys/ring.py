"""The keys in force: read from the file again when it changes, and found by their text."""

import asyncio
import logging
from collections.abc import Mapping
from hmac import compare_digest
from pathlib import Path
from typing import NamedTuple

from service.keys.document import Key, Keys, Scope, read
from service.keys.errors import Forbidden, UnusableKeys, WrongKey
from service.keys.limits import Quota, Rate
from service.keys.secrets import digest, id_of
from service.keys.usage import Meter, Usage
from service.repeated import Repeated
from service.threads import Threads

PERIOD = 0.5  # seconds between two looks whether the file has changed
_NOBODY = bytes(32)  # the digest of no text that anyone knows
log = logging.getLogger(__name__)


class Grant(NamedTuple):
    """What a presented key allows, as long as the same keys are in force."""

    id: str
    digest: bytes
    name: str
    scopes: frozenset[Scope]
    tenant: str | None
    any_tenant: bool
    expires: float  # seconds since 1970
    meter: Meter | None
    keys: Keys  # those in force when it was shown

    def tenant_of(self, asked: str | None) -> str:
        """Return the tenant of a request that names ``asked``, or none; raise Forbidden."""
        if asked is None:
            return self.tenant or ""
        if asked != (self.tenant or "") and not self.any_tenant:
            raise Forbidden("The key is not for this tenant.")
        return asked


class Keyring:
    """
    The keys of a file; time is an argument.

    A file that was removed revokes all keys.  One that cannot be read leaves the keys before in
    force, which is logged: a typing error must not stop a service.  After the first time the file
    is read in a thread, so that a slow disk delays no request.
    """

    def __init__(self, path: Path, usage: Usage) -> None:
        """Read the file; raise UnusableKeys."""
        self._path, self._usage = path, usage
        self._thread = Threads("keys", 1)
        self._next: asyncio.Future[None] | None = None  # the look that has not begun
        self._seen = _stamp(path)
        self._put_in_force(read(path))

    def find(self, text: bytes, now: float) -> Grant:
        """Return the grant of a key's text; raise WrongKey."""
        # An id that is not known costs what a wrong secret does.
        grant = self._grants.get(id_of(text) or "")
        same = compare_digest(digest(text), grant.digest if grant else _NOBODY)
        if grant is None or not same:
            raise WrongKey
        if now >= grant.expires:
            raise WrongKey("The key has expired.")
        return grant

    def holds(self, grant: Grant, now: float) -> bool:
        """Whether a grant that was found earlier is still valid and unchanged."""
        return grant.keys is self._keys and now < grant.expires

    def renew(self, grant: Grant, now: float) -> Grant | None:
        """Return the present grant of the same key; None if it is revoked or has expired."""
        new = self._grants.get(grant.id)
        valid = new is not None and new.digest == grant.digest and now < new.expires
        return new if valid else None

    def followed(self) -> Repeated:
        """Return a context manager that follows changes of the file."""
        return Repeated("keys", self.look_in_thread, PERIOD)

    async def look_in_thread(self) -> None:
        """
        Call ``look`` in a thread; cancelling the caller does not end it.

        One look serves all callers that ask before it begins; one under way may miss a change.
        """
        if (look := self._next) is None:
            look = self._next = asyncio.ensure_future(self._thread.run(self._look_for_all))
        await asyncio.shield(look)

    def look(self) -> None:
        """Read the file again if it has changed; call it in one thread at a time."""
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._put_in_force(read(self._path) if stamp else Keys())
        except UnusableKeys as exc:
            problem = str(exc)
        else:
            log.warning("keys in force: %d", len(self._grants))
            return
        log.error("%s; the keys before stay in force", problem)

    def _look_for_all(self) -> None:
        self._next = None
        self.look()

    def _put_in_force(self, keys: Keys) -> None:
        self._grants: Mapping[str, Grant] = {key.id: self._grant(key, keys) for key in keys.keys}
        self._keys = keys

    def _grant(self, key: Key, keys: Keys) -> Grant:
        rate = Rate.parse(key.rate, key.burst) if key.rate else None
        quota = Quota.parse(key.quota) if key.quota else None
        limited = rate is not None or quota is not None
        return Grant(
            key.id,
            bytes.fromhex(key.sha256),
            key.name,
            frozenset(key.scopes),
            key.tenant,
            key.any_tenant,
            key.expires.timestamp() if key.expires else float("inf"),
            Meter(self._usage, key.id, rate, quota) if limited else None,
            keys,
        )


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    """Return a value that changes whenever the file does; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
