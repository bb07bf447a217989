"""
A cache of JSON documents in a folder: each is made once, by one process at a time.

A folder that cannot be read or written, or that other users may write to, is not used: values are
then made each time.  A process that was stopped while it made a value is not waited for for ever.
What nobody has read for ``UNREAD`` is removed when something else is made.
"""

import hashlib
import json
import logging
import os
import platform
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from models.durable import lock, opened, replace
from service.engine.cpus import available_cpus

log = logging.getLogger(__name__)

T = TypeVar("T")
UNREAD = 90 * 86_400  # seconds
_LOCK = re.compile(r"[a-z]+-[0-9a-f]{32}\.lock")  # beside what ``key_of`` names
_FOLDER, _FILE = 0o700, 0o600  # whatever the umask: what others may write to is not believed
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Cache(Generic[T]):
    """Values of one kind, each in a JSON file of its own."""

    folder: Path
    of: Callable[[Any], T]  # from JSON; raises ValueError, KeyError or TypeError
    document: Callable[[T], Any]  # to JSON
    patience: float  # seconds for whoever makes one; all that is lost without is to make it twice
    fresh: Callable[[T, float], bool] = lambda _value, _age: True  # by its age in seconds

    def get(self, key: str, make: Callable[[], T]) -> T:
        """Return the value of a key; ``make`` it if it is missing, in one process at a time."""
        path = self.folder / f"{key}.json"
        found = self._read(path)
        if found is not None:
            return found
        with _alone(path, self.patience):
            found = self._read(path)
            if found is not None:
                return found
            _forget_unread(self.folder)
            return self._write(path, make())

    def put(self, key: str, value: T) -> T:
        """Return the value, after it has replaced the one kept under its key, if it could be."""
        path = self.folder / f"{key}.json"
        with _alone(path, self.patience):
            return self._write(path, value)

    def _write(self, path: Path, value: T) -> T:
        try:
            replace(path, json.dumps(self.document(value)).encode(), _FILE)
        except OSError as exc:
            log.info("%s is not kept: %s", path.name, exc)
        return value

    def _read(self, path: Path) -> T | None:
        try:
            with opened(path) as file:
                _insist_on_ours(self.folder.stat())
                _insist_on_ours(found := os.fstat(file.fileno()))
                value = self.of(json.load(file))
                with suppress(OSError):  # a read-only folder
                    os.utime(path.with_suffix(".lock"))  # not the file, which has an age
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
            log.warning("what is kept in %s cannot be used: %s", path.name, exc)
            return None
        return value if self.fresh(value, time.time() - found.st_mtime) else None


def key_of(kind: str, *parts: object) -> str:
    """Return the key of what depends on some values and on this machine's processors."""
    text = repr((*parts, _machine(), available_cpus()))
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.machine())


def _insist_on_ours(found: os.stat_result) -> None:
    """Refuse what another user might have written: a verdict decides what serves."""
    if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
        raise PermissionError("other users may write to it")


def _forget_unread(folder: Path) -> None:
    """Remove what has been neither made nor read for ``UNREAD``, unless it is being made."""
    with suppress(OSError):
        _insist_on_ours(folder.stat())
        for path in folder.iterdir():
            if _LOCK.fullmatch(path.name):
                with suppress(OSError):
                    _forget(path, path.with_suffix(".json"))


def _forget(path: Path, kept: Path) -> None:
    if time.time() - path.stat().st_mtime < UNREAD:
        return
    with path.open("rb") as file:
        lock(file.fileno(), 0)
        kept.unlink(missing_ok=True)
        path.unlink()


@contextmanager
def _alone(path: Path, patience: float) -> Iterator[None]:
    """Make the folder, and lock what is kept there between processes, as far as it allows that."""
    with ExitStack() as stack:
        try:
            path.parent.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
            handle = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, _FILE)
            stack.callback(os.close, handle)
            os.utime(handle)
            lock(handle, patience)
        except OSError as exc:
            log.info("working without a lock: %s", exc)
        yield
