"""
What each key has used, in one small file that all processes of a host share.

A key has a slot of 64 bytes: when its next request is due (see Rate), and how many it made in the
period that runs (see Quota).  The file is locked for the two microseconds that a change takes, and
the kernel unlocks it for a process that dies, so that counts are exact and nobody waits for the
dead.  They survive a restart and a crash of the service; a crash of the machine may lose the last
half minute.  It is read and written, not mapped: a file that someone cuts short ends no process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_UN, flock
from os import pread, pwrite
from pathlib import Path
from struct import Struct
from typing import NamedTuple, Self

from service.keys.errors import (
    LimitReached,
    QuotaReached,
    RateReached,
    UnusableUsage,
    UsageUnavailable,
)
from service.keys.limits import Quota, Rate

_SLOT = 64  # bytes; the first is the file's head
_HEAD = b"seqserve usage 1".ljust(_SLOT, b"\0")
_NUMBERS = Struct("<qqq")  # due, period, count
_BYTES = _NUMBERS.size  # and then the id
_ID_BYTES = 12


class Used(NamedTuple):
    """What a slot holds."""

    due: int = 0  # nanoseconds since 1970
    period: int = 0
    requests: int = 0


class Usage:
    """The open file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the file; raise UnusableUsage."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            usage = cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as exc:
            raise UnusableUsage(f"{path}: {exc.strerror}") from exc
        if not usage._claim():
            usage.close()
            raise UnusableUsage(f"{path} holds something else.")
        return usage

    def used(self, key: str) -> Used:
        """Return what a key has used."""
        return self.read(self.place(key))

    def read(self, place: int) -> Used:
        """Return the numbers of a slot."""
        found = pread(self.descriptor, _BYTES, place)
        return Used(*_NUMBERS.unpack(found)) if len(found) == _BYTES else Used()

    def place(self, key: str) -> int:
        """Return where a key's slot is; one that has none gets a place at the end."""
        name = key.encode()
        with self.alone():
            size = os.fstat(self.descriptor).st_size
            known = pread(self.descriptor, size, 0)
            for place in range(_SLOT, size, _SLOT):
                if known[place + _BYTES : place + _BYTES + _ID_BYTES] == name:
                    return place
            self.restore(key, size)
            return size

    def restore(self, key: str, place: int) -> None:
        """Write a slot that counts nothing yet, and the head in case the file was cut short."""
        pwrite(self.descriptor, _HEAD, 0)
        pwrite(self.descriptor, (bytes(_BYTES) + key.encode()).ljust(_SLOT, b"\0"), place)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the file."""
        flock(self.descriptor, LOCK_EX)
        try:
            yield
        finally:
            flock(self.descriptor, LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)

    def _claim(self) -> bool:
        """Whether the file is one of ours, or empty, and so becomes one."""
        with self.alone():
            size = os.fstat(self.descriptor).st_size
            if not size:
                pwrite(self.descriptor, _HEAD, 0)
            return not size or (pread(self.descriptor, _SLOT, 0) == _HEAD and not size % _SLOT)


class Meter:
    """What one key has used, and may; the arithmetic is in Rate and Quota."""

    __slots__ = ("_descriptor", "_key", "_place", "_quota", "_rate", "_usage")

    def __init__(self, usage: Usage, key: str, rate: Rate | None, quota: Quota | None) -> None:
        self._usage, self._key, self._rate, self._quota = usage, key, rate, quota
        self._place = usage.place(key)
        self._descriptor = usage.descriptor

    def take(self, now: float) -> LimitReached | None:
        """Count one request, or return why it is one too many; raise UsageUnavailable."""
        descriptor = self._descriptor
        try:
            flock(descriptor, LOCK_EX)
            try:
                return self._count(now)
            finally:
                flock(descriptor, LOCK_UN)
        except OSError as exc:
            raise UsageUnavailable from exc

    def _count(self, now: float) -> LimitReached | None:
        found = pread(self._descriptor, _BYTES, self._place)
        if len(found) < _BYTES:  # somebody cut the file short
            self._usage.restore(self._key, self._place)
            found = bytes(_BYTES)
        due, period, count = _NUMBERS.unpack(found)
        quota, rate = self._quota, self._rate
        if quota is not None:
            running = quota.period(now)
            # One period back is a clock that was put right, and no new period.
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
