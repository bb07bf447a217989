"""Durable files: read whole, replaced atomically, changed under a lock."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def opened(path: Path) -> BinaryIO:
    """
    Open a regular file to read it; raise OSError, also for anything else.

    Opening a pipe, for one, would wait for a writer.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    raise OSError(errno.EINVAL, "Not a regular file", str(path))


def read(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file; raise OSError, also if there are more than ``most``."""
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"More than {most} bytes", str(path))
    return content


def replace(path: Path, content: bytes, mode: int = 0o666) -> None:
    """
    Replace the contents of a file atomically; they are on the disk when this returns.

    Only one process may do so at a time, see ``alone``.  Raises OSError, and then the file is as
    it was.
    """
    draft = path.with_name(f".{path.name}.tmp")
    draft.unlink(missing_ok=True)  # of who was killed
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone(folder: Path, patience: float) -> Iterator[None]:
    """
    Lock a folder, for which no file is needed; a process that is killed lets go.

    Whoever has it is waited for, but not for ever: it might be stopped.  Raises TimeoutError.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        lock(handle, patience)
        yield
    finally:
        os.close(handle)


def lock(handle: int, patience: float) -> None:
    """Lock an open file or folder until it is closed; raise TimeoutError, and OSError."""
    give_up = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise TimeoutError(errno.ETIMEDOUT, "another process has it locked") from None
            time.sleep(0.01)
        else:
            return
