"""
A folder of models, ``<name>/<version>.onnx``, that holds complete files only.

There is no index and no lock: a file appears under its name atomically.
"""

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from models.contract import NAME_PATTERN
from models.durable import sync
from models.states import FILE, States

_NAME = re.compile(NAME_PATTERN, re.ASCII)
_VERSION = re.compile(r"^([1-9][0-9]{0,8})\.onnx$", re.ASCII)
_DRAFT = ".publishing-"
INSTALLED = Path(__file__).parent / "zoo"  # the models that come with the package
ABANDONED = 60.0  # seconds after the last write, when an unlocked draft may be removed


class ModelNotInRepository(LookupError):
    """The repository holds no such model, or not that version of it."""

    def __init__(self, name: str, version: int | None = None) -> None:
        which = repr(name) if version is None else f"{name!r} in version {version}"
        super().__init__(f"There is no model {which}.")
        self.name = name
        self.version = version


class Stamp(NamedTuple):
    """What differs between two files of the same name, without reading them."""

    inode: int
    size: int
    changed: int  # nanoseconds


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One published file."""

    name: str
    version: int
    path: Path


def is_draft(name: str) -> bool:
    """Whether a file's name is that of a draft, which is not published yet."""
    return name.startswith(_DRAFT)


class Repository:
    """Find and publish models under one folder."""

    def __init__(self, root: Path | str, states: Path | None = None) -> None:
        self.root = Path(root)
        self.states = States(states or self.root)  # which versions should serve

    def names(self) -> list[str]:
        """List the models that have at least one version, in order."""
        if not self.root.is_dir():
            return []
        found = sorted(
            folder.name for folder in self.root.iterdir() if _NAME.fullmatch(folder.name)
        )
        return [name for name in found if self.versions(name)]

    def versions(self, name: str) -> list[Entry]:
        """
        List the versions of a model, oldest first; an unknown name has none.

        Symbolic links are listed, too, so that whoever reads one can refuse it with a reason.
        """
        folder = self.root / name
        if not _NAME.fullmatch(name) or not folder.is_dir():
            return []
        matches = ((_VERSION.fullmatch(path.name), path) for path in folder.iterdir())
        return sorted(
            Entry(name, int(match[1]), path)
            for match, path in matches
            if match and (path.is_symlink() or path.is_file())
        )

    def stamps(self, name: str) -> dict[int | str, Stamp]:
        """
        Return the stamp of each version of a model, and of its state by that file's name.

        There may be a state without any version: of a model whose files were removed.
        """
        paths: dict[int | str, Path] = {entry.version: entry.path for entry in self.versions(name)}
        if _NAME.fullmatch(name):
            paths[FILE] = self.states.path(name)
        found = {}
        for key, path in paths.items():
            with suppress(FileNotFoundError, NotADirectoryError):
                stat = path.lstat()
                found[key] = Stamp(stat.st_ino, stat.st_size, stat.st_mtime_ns)
        return found

    def find(self, name: str, version: int | None = None) -> Entry:
        """Return one version, or the newest; raise ModelNotInRepository."""
        for entry in reversed(self.versions(name)):
            if version in (None, entry.version):
                return entry
        raise ModelNotInRepository(name, version)

    def publish(self, name: str, write: Callable[[Path], None]) -> Entry:
        """
        Give ``write`` a path to fill, and publish what it wrote as the next version.

        The file is synced to disk before it gets its name, by a hard link that fails if the name
        is taken, so two publishers never overwrite each other.  If ``write`` raises, all versions
        stay as they were; drafts of publishers that were killed are removed by the next one.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a model name; it must match {NAME_PATTERN}")
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        sync(self.root)  # a new folder's name, too, must be on the disk
        _sweep(folder)
        with _draft(folder) as draft:
            write(draft)
            draft.chmod(0o644)
            sync(draft)
            entry = self._take_next(name, draft)
            sync(folder)
        return entry

    def _take_next(self, name: str, draft: Path) -> Entry:
        taken = self.versions(name)
        version = taken[-1].version + 1 if taken else 1
        while True:
            path = self.root / name / f"{version}.onnx"
            try:
                path.hardlink_to(draft)
            except FileExistsError:  # another publisher's, or what is no version at all
                version += 1
            else:
                return Entry(name, version, path)


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """Create an empty file, locked while the block runs and removed after it."""
    handle, text = tempfile.mkstemp(prefix=_DRAFT, suffix=".tmp", dir=folder)
    try:
        with suppress(OSError):  # without locks no draft is swept either
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Path(text)
    finally:
        Path(text).unlink(missing_ok=True)
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove the drafts of publishers that were killed: old, and not locked."""
    for path in folder.glob(f"{_DRAFT}*"):
        with suppress(OSError):  # gone, held, or not ours to remove
            if time.time() - path.lstat().st_mtime < ABANDONED:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(handle)
