"""
What each key has used, in one small file shared by all processes of a host.

A key has a slot of 64 bytes: when its next request is due (see Rate), and its requests in the
current period (see Quota).  The file is locked for the two microseconds of a change, and the
kernel unlocks it for a process that dies, so counts are exact and no lock stays behind.  Counts
survive a restart and a crash of the service; a crash of the machine may lose the last half minute.
The file is read and written, not mapped: truncating a mapped file would kill the processes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
from os import pread, pwrite
from pathlib import Path
from struct import Struct
from typing import NamedTuple, Self

from models.durable import lock
from service.keys.errors import (
    LimitReached,
    QuotaReached,
    RateReached,
    UnusableUsage,
    UsageLocked,
    UsageUnavailable,
)
from service.keys.limits import Quota, Rate

_SLOT = 64  # bytes; the first is the file's head
_HEAD = b"seqserve usage 1".ljust(_SLOT, b"\0")
_NUMBERS = Struct("<qqq")  # due, period, count
_BYTES = _NUMBERS.size  # and then the id
_ID_BYTES = 12
PATIENCE = 5.0  # seconds for a process that was stopped within its two microseconds
TRIES = 50  # to get the lock, in about thirty microseconds; each who has it needs two


class Used(NamedTuple):
    """What a slot holds."""

    due: int = 0  # nanoseconds since 1970
    period: int = 0
    requests: int = 0


class Usage:
    """The open file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._places: dict[str, int] = {}
        self._end = _SLOT  # of what was read

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the file; raise UnusableUsage."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            usage = cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            ours = usage._claim()
        except OSError as exc:
            raise UnusableUsage(f"{path}: {exc.strerror}") from exc
        if not ours:
            usage.close()
            raise UnusableUsage(f"{path} holds something else.")
        return usage

    def used(self, key: str) -> Used:
        """Return what a key has used; raise UnusableUsage."""
        try:
            found = pread(self.descriptor, _BYTES, self.place(key))
        except OSError as exc:
            raise UnusableUsage(f"What keys have used: {exc.strerror}") from exc
        return Used(*_NUMBERS.unpack(found)) if len(found) == _BYTES else Used()

    def place(self, key: str) -> int:
        """Return where a key's slot is; one that has none gets it at the end.  Raise OSError."""
        with self.alone():
            return self.find(key)

    def find(self, key: str, *, anew: bool = False) -> int:
        """As ``place``, with the file locked by the caller; ``anew`` scans all of it again."""
        size = os.fstat(self.descriptor).st_size
        if anew or size < self._end:
            pwrite(self.descriptor, _HEAD, 0)
            self._places, self._end = {}, _SLOT
        more = pread(self.descriptor, max(0, size - self._end), self._end)
        for offset in range(0, len(more), _SLOT):
            name = more[offset + _BYTES : offset + _BYTES + _ID_BYTES].decode("latin-1")
            self._places[name] = self._end + offset
        self._end += len(more)
        if key not in self._places:
            slot = (bytes(_BYTES) + key.encode()).ljust(_SLOT, b"\0")
            self._places[key] = self._end
            self._end += pwrite(self.descriptor, slot, self._end)
        return self._places[key]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the file; raise OSError, also where another process keeps it locked."""
        lock(self.descriptor, PATIENCE)
        try:
            yield
        finally:
            flock(self.descriptor, LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)

    def _claim(self) -> bool:
        """Return whether the file is one of ours; an empty one is made one."""
        with self.alone():
            size = os.fstat(self.descriptor).st_size
            if not size:
                pwrite(self.descriptor, _HEAD, 0)
            return not size or (pread(self.descriptor, _SLOT, 0) == _HEAD and not size % _SLOT)


class Meter:
    """Counts the requests of one key against its rate and quota."""

    __slots__ = ("_descriptor", "_key", "_name", "_place", "_quota", "_rate", "_usage")

    def __init__(self, usage: Usage, key: str, rate: Rate | None, quota: Quota | None) -> None:
        self._usage, self._key, self._rate, self._quota = usage, key, rate, quota
        self._name, self._descriptor = key.encode(), usage.descriptor
        self._place = 0  # of the head, which is no key's, until the first request

    def take(self, now: float) -> LimitReached | None:
        """
        Count one request, or return why it is one too many; never wait.

        Raises UsageLocked and UsageUnavailable.
        """
        descriptor = self._descriptor
        try:
            _lock(descriptor)
            try:
                return self._count(now)
            finally:
                flock(descriptor, LOCK_UN)
        except OSError as exc:
            raise UsageUnavailable from exc

    def _count(self, now: float) -> LimitReached | None:
        found = pread(self._descriptor, _BYTES + _ID_BYTES, self._place)
        for anew in (False, True):  # the first request; and then, if the file was truncated
            if found[_BYTES:] == self._name:
                break
            self._place = self._usage.find(self._key, anew=anew)
            found = pread(self._descriptor, _BYTES + _ID_BYTES, self._place)
        due, period, count = _NUMBERS.unpack_from(found)
        quota, rate = self._quota, self._rate
        if quota is not None:
            running = quota.period(now)
            # One period back is a clock that was corrected, not a new period.
            if not period - 1 <= running <= period:
                period, count = running, 0
            if count >= quota.count:
                return QuotaReached(quota.words, quota.wait(now))
            count += 1
        if rate is not None:
            due, wait = rate.next(due, int(now * 1e9))
            if wait:
                return RateReached(rate.words, wait / 1e9)
        pwrite(self._descriptor, _NUMBERS.pack(due, period, count), self._place)
        return None


def _lock(descriptor: int) -> None:
    """Lock the file, which is locked for microseconds only; raise UsageLocked otherwise."""
    for _ in range(TRIES):
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            continue
        return
    raise UsageLocked
