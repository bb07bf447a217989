"""The files of serving states, ``<name>/serving.json``, replaced atomically."""

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from models.durable import alone, read, replace
from models.serving import (
    Serving,
    ServingChanged,
    ServingNotKept,
    ServingNotKeptNow,
    ServingUnreadable,
    reason,
)

FILE = "serving.json"
PATIENCE = 5.0  # seconds; a change of another process takes milliseconds
MOST = 2**20  # bytes of a state
# Errors that do not pass by trying again.
_FOR_GOOD = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


class States:
    """Read and change the state of each model; a model without a file has the default one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the path of a model's state."""
        return self.folder / name / FILE

    def read(self, name: str) -> Serving:
        """Return the state of a model; raise ServingUnreadable."""
        try:
            text = read(self.path(name), MOST)
        except (FileNotFoundError, NotADirectoryError):
            return Serving()
        except OSError as exc:
            raise ServingUnreadable(f"{FILE} cannot be read: {exc.strerror}.") from exc
        try:
            return Serving.model_validate_json(text)
        except ValueError as exc:
            raise ServingUnreadable(f"{FILE} does not fit: {reason(exc)}") from None

    def change(
        self,
        name: str,
        change: Callable[[Serving], Serving],
        expected: str | None = None,
    ) -> Serving:
        """
        Replace a model's state by what ``change`` returns for it, under a lock between processes.

        ``expected`` is the tag of the state that the change was made for.  Raises
        ServingUnreadable, ServingChanged, ServingNotKept(Now), and whatever ``change`` does.
        """
        before = self._meant(name, expected)
        if change(before) == before:  # works in a read-only folder, too
            return before
        with self._alone(name):
            after = change(self._meant(name, expected))
            self._write(name, after)
        return after

    def replace(self, name: str, state: Serving, expected: str | None = None) -> None:
        """Replace a model's state, even an unreadable one; raise as ``change``."""
        with suppress(ServingUnreadable):
            self.change(name, lambda _: state, expected)
            return
        if expected is not None:
            raise ServingChanged(f"The state of {name!r} is unreadable now.")
        with self._alone(name):
            self._write(name, state)

    def _meant(self, name: str, expected: str | None) -> Serving:
        found = self.read(name)
        if expected not in (None, found.tag):
            raise ServingChanged(f"The state of {name!r} has the tag {found.tag} now.")
        return found

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        folder = self.folder / name
        with ExitStack() as stack:
            with _writing():
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    stack.enter_context(alone(folder, PATIENCE))
                except TimeoutError:
                    raise ServingNotKeptNow(f"The state of {name!r} is locked.") from None
            yield

    def _write(self, name: str, state: Serving) -> None:
        with _writing():
            replace(self.path(name), state.model_dump_json(indent=2).encode() + b"\n")


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        folder = "The folder that keeps the states of models"
        if exc.errno in _FOR_GOOD:
            raise ServingNotKept(f"{folder} cannot be written.") from exc
        raise ServingNotKeptNow(f"{folder} fails: {exc.strerror}.") from exc
