"""The files that say what shall serve, ``<name>/serving.json``, whole at every instant."""

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
# What trying again does not change.
_FOR_GOOD = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


class States:
    """Read and change the state of each model; a model without a file has the default one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return where the state of a model is kept."""
        return self.folder / name / FILE

    def read(self, name: str) -> Serving:
        """Return the state that is asked for; raise ServingUnreadable."""
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
        Make a new state of the present one, and keep it; processes take turns.

        ``expected`` is the tag of the state that the change was meant for.  Raises
        ServingUnreadable, ServingChanged, ServingNotKept(Now), and whatever ``change`` does.
        """
        before = self._meant(name, expected)
        if change(before) == before:  # which needs no folder that can be written
            return before
        with self._alone(name):
            after = change(self._meant(name, expected))
            self._write(name, after)
        return after

    def replace(self, name: str, state: Serving, expected: str | None = None) -> None:
        """Keep a state, also in the place of an unreadable one; raise as ``change``."""
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
