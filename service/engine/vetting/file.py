"""
Read a published file once, through one descriptor, and refuse links and special files.

The bytes that were read are both checked and loaded, so changes of the file afterwards have no
effect.
"""

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path

from models.repository import INSTALLED, is_draft
from service.engine.errors import ModelRejected

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not make us wait


def read(path: Path, limit: int) -> bytes:
    """
    Return a file's bytes; it and its folder must not be symbolic links, nor it have hard links.

    Hard links are allowed for the models of the package itself: uv installs by them, and whoever
    could change a file there could change the code beside it.

    Raises ModelRejected, whose message never contains the path of the repository.
    """
    with ExitStack() as stack:
        folder = _open(path.parent, "The model's folder", flags=os.O_DIRECTORY)
        stack.callback(os.close, folder)
        file = _open(path.name, "The file", folder=folder)
        stack.callback(os.close, file)
        _check(os.fstat(file), folder, limit)
        with os.fdopen(file, "rb", closefd=False) as opened:
            content = opened.read(limit + 1)
    if len(content) > limit:
        raise ModelRejected(f"The file grew beyond {limit} bytes while it was read.")
    return content


def _open(path: Path | str, what: str, folder: int | None = None, flags: int = 0) -> int:
    try:
        return os.open(path, _FLAGS | flags, dir_fd=folder)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENOTDIR):
            raise ModelRejected(f"{what} is a symbolic link.") from exc
        raise ModelRejected(f"{what} cannot be read: {exc.strerror}.") from exc


def _check(found: os.stat_result, folder: int, limit: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ModelRejected("The file is no regular file.")
    others = found.st_nlink - 1 - _drafts(found, folder) if found.st_nlink > 1 else 0
    if others and not _came_with_package(folder):
        raise ModelRejected(
            f"The file has {others} more name{'s' * (others > 1)} on the disk (hard links): "
            "who has one could change it here. Publish a copy."
        )
    if found.st_size > limit:
        raise ModelRejected(f"The file has {found.st_size} bytes, more than {limit}.")


def _came_with_package(folder: int) -> bool:
    return os.path.samestat(os.stat("..", dir_fd=folder), INSTALLED.stat())


def _drafts(found: os.stat_result, folder: int) -> int:
    """Count the hard links to the file that are drafts, of a publisher at work or killed."""
    with os.scandir(folder) as entries:
        return sum(
            entry.inode() == found.st_ino
            for entry in entries
            if is_draft(entry.name) and entry.is_file(follow_symlinks=False)
        )
