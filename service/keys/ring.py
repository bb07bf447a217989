"""The keys in force: the file, read again when it changes, and what each text opens."""

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

PERIOD = 0.5  # seconds for which nobody looks whether the file has changed
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
    log says so: a slip of the pen must not stop a service.
    """

    def __init__(self, path: Path, usage: Usage, now: float) -> None:
        """Read the file; raise UnusableKeys."""
        self._path, self._usage = path, usage
        self._seen = _stamp(path)
        self._next = now + PERIOD
        self._keys = read(path)
        self._grants = self._all()

    def find(self, text: bytes, now: float) -> Grant:
        """Return what a key's text opens; raise WrongKey."""
        self._look(now)
        grant = self._found(text)
        if grant is None:  # one that was made just now
            self._next = now
            self._look(now)
            grant = self._found(text)
        if grant is None:
            raise WrongKey
        if now >= grant.expires:
            raise WrongKey("The key has expired.")
        return grant

    def _found(self, text: bytes) -> Grant | None:
        # An id that is not known costs what a wrong secret does.
        grant = self._grants.get(id_of(text) or "")
        same = compare_digest(digest(text), grant.digest if grant else _NOBODY)
        return grant if same else None

    def holds(self, grant: Grant, now: float) -> bool:
        """Whether what was found a while ago still is, word for word."""
        self._look(now)
        return grant.keys is self._keys and now < grant.expires

    def renew(self, grant: Grant, now: float) -> Grant | None:
        """Return what the key allows by now; None if it is revoked or has expired."""
        self._look(now)
        new = self._grants.get(grant.id)
        valid = new is not None and new.digest == grant.digest and now < new.expires
        return new if valid else None

    def _look(self, now: float) -> None:
        if now < self._next <= now + PERIOD:
            return
        self._next = now + PERIOD
        stamp = _stamp(self._path)
        if stamp != self._seen:
            self._seen = stamp
            self._read()

    def _read(self) -> None:
        try:
            self._keys = read(self._path) if self._seen else Keys()
        except UnusableKeys as exc:
            problem = str(exc)
        else:
            self._grants = self._all()
            log.warning("keys in force: %d", len(self._grants))
            return
        log.error("%s; the keys before stay in force", problem)

    def _all(self) -> Mapping[str, Grant]:
        return {key.id: self._grant(key) for key in self._keys.keys}

    def _grant(self, key: Key) -> Grant:
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
            self._keys,
        )


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    """Return what changes whenever the file does, None while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
