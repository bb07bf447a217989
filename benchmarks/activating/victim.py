"""
Publish or activate a version, and be killed at a line of the code that does it.

Started by ``drill`` alone: folder, cache, operation, which code, and at which of its lines to die,
in the order they are first reached; 0 does not die, and prints how many there are.  Each line is a
point between two effects on the disk or in memory.
"""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.reloading.versions import MODEL, adding
from models.repository import Repository
from service.engine.core import Engine, EngineOptions

OPERATIONS = ("publish", "roll back", "move alias", "newest", "unload")
_KEEPING = ("models/repository.py", "models/states.py", "models/durable.py")
_WATCHED = (
    *_KEEPING,
    "service/engine/changes.py",
    "service/engine/lifecycle.py",
    "service/engine/catalogue.py",
)
_WRITING = {"publish", "_take_next", "_write", "replace", "sync"}


class Death:
    """
    Counts the lines reached in any thread, and ends this process at one of them.

    ``writing`` counts those alone that write files.
    """

    def __init__(self, at: int, *, writing: bool) -> None:
        self._at = at
        self._writing = writing
        self.counts = False  # not yet
        self.reached: set[tuple[str, int]] = set()

    def trace(self, frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401  or None
        """Watch a frame if it is of the watched modules; ``sys.settrace``."""
        code = frame.f_code
        if not self.counts:
            return None
        if not code.co_filename.endswith(_KEEPING if self._writing else _WATCHED):
            return None
        if self._writing and code.co_name not in _WRITING:
            return None
        if event == "call" and _is_for_a_cache(frame):
            return None
        line = code.co_filename, frame.f_lineno
        if event == "line" and line not in self.reached:
            self.reached.add(line)
            if len(self.reached) == self._at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


def _is_for_a_cache(frame: FrameType | None) -> bool:
    """Whether it is a verdict that is written, which is there already the next time."""
    while frame is not None and not frame.f_code.co_filename.endswith("service/engine/cache.py"):
        frame = frame.f_back
    return frame is not None


async def operate(engine: Engine, repository: Repository, operation: str) -> None:
    """Do one of the operations."""
    if operation == "publish":
        number = len(repository.versions(MODEL)) + 1
        await asyncio.to_thread(repository.publish, MODEL, adding(number))
        await engine.changes.load(MODEL)
    elif operation == "roll back":
        await engine.changes.roll_back(MODEL)
    elif operation == "move alias":
        newest = repository.find(MODEL).version
        aliases, traffic = {"stable": newest}, {"stable": 1}
        await engine.changes.make(
            MODEL, lambda state: state.with_(aliases=aliases, traffic=traffic)
        )
    elif operation == "unload":
        await engine.changes.unload(MODEL, repository.find(MODEL).version)
    else:
        await engine.changes.make(MODEL, lambda state: state.with_(aliases={}, traffic=None))


async def _main(folder: Path, cache: Path, operation: str, code: str, at: int) -> None:
    repository = Repository(folder)
    options = EngineOptions(provider="cpu", threads=1, watch_seconds=0, cache=cache)
    death = Death(at, writing=code == "writing")
    threading.settrace(death.trace)  # of threads that begin from now on
    async with Engine(repository, options) as engine:
        death.counts = True
        sys.settrace(death.trace)
        await operate(engine, repository, operation)
        sys.settrace(None)
    sys.stdout.write(f"{len(death.reached)}\n")


if __name__ == "__main__":
    _, _folder, _cache, _operation, _code, _at = sys.argv
    asyncio.run(_main(Path(_folder), Path(_cache), _operation, _code, int(_at)))
