"""The keys in force: the file, read again when it changes, and what each text opens."""

import asyncio
import logging
from collections.abc import Mapping
from hmac import compare_digest
from pathlib import Path
from typing import NamedTuple

from service.aside import Aside
from service.keys.document import Key, Keys, Scope, read
from service.keys.errors import Forbidden, UnusableKeys, WrongKey
from service.keys.limits import Quota, Rate
from service.keys.secrets import digest, id_of
from service.keys.usage import Meter, Usage
from service.repeated import Repeated

PERIOD = 0.5  # seconds between two looks whether the file has changed
_NOBODY = bytes(32)  # the digest of no text that anyone knows
log = logging.getLogger(__name__)


class Grant(NamedTuple):
    """What a key that was shown allows, as long as the same keys are in force."""

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
        """Return whose sessions the key opens, if it may those asked for; raise Forbidden."""
        if asked is None:
            return self.tenant or ""
        if asked != (self.tenant or "") and not self.any_tenant:
            raise Forbidden("The key is not for this tenant.")
        return asked


class Keyring:
    """
    Who may ask; time is an argument, and whoever asks says when.

    A file that is gone lets nobody in.  One that cannot be read leaves in force what was, and the
    log says so: a slip of the pen must not stop a service.  After the first time the file is read
    in a thread of its own: a disk that does not answer holds up no request.
    """

    def __init__(self, path: Path, usage: Usage) -> None:
        """Read the file; raise UnusableKeys."""
        self._path, self._usage = path, usage
        self._thread = Aside("keys", 1)
        self._next: asyncio.Future[None] | None = None  # the look that has not begun
        self._seen = _stamp(path)
        self._put_in_force(read(path))

    def find(self, text: bytes, now: float) -> Grant:
        """Return what a key's text opens; raise WrongKey."""
        # An id that is not known costs what a wrong secret does.
        grant = self._grants.get(id_of(text) or "")
        same = compare_digest(digest(text), grant.digest if grant else _NOBODY)
        if grant is None or not same:
            raise WrongKey
        if now >= grant.expires:
            raise WrongKey("The key has expired.")
        return grant

    def holds(self, grant: Grant, now: float) -> bool:
        """Whether what was found a while ago still is, word for word."""
        return grant.keys is self._keys and now < grant.expires

    def renew(self, grant: Grant, now: float) -> Grant | None:
        """Return what the key allows by now; None if it is revoked or has expired."""
        new = self._grants.get(grant.id)
        valid = new is not None and new.digest == grant.digest and now < new.expires
        return new if valid else None

    def followed(self) -> Repeated:
        """Return what keeps in force what the file says, while its block lasts."""
        return Repeated("keys", self.look_aside, PERIOD)

    async def look_aside(self) -> None:
        """
        Look in a thread at what the file says now; whoever waits no longer ends no look.

        One look serves all who ask before it begins; one under way may have missed what is new.
        """
        if (look := self._next) is None:
            look = self._next = asyncio.ensure_future(self._thread.run(self._look_for_all))
        await asyncio.shield(look)

    def look(self) -> None:
        """Take up what has changed of the file; for one thread at a time."""
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
    """Return what changes whenever the file does, None while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
