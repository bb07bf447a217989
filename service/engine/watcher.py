"""Look at the repository now and then, and take up what has changed in it."""

import asyncio
import logging
from types import TracebackType
from typing import Self

from models.repository import Repository, Stamp
from service.engine.lifecycle import Lifecycle

log = logging.getLogger(__name__)


class Watcher:
    """
    Brings each model whose files have changed to its state, while its block lasts.

    It asks for the stamps of the files each time: that works on every file system, and costs a
    few microseconds a file, in a thread.
    """

    def __init__(self, repository: Repository, lifecycle: Lifecycle, seconds: float) -> None:
        self._repository = repository
        self._lifecycle = lifecycle
        self._seconds = seconds
        self._seen: dict[str, dict[int | str, Stamp]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether changes would be seen."""
        return self._task is not None and not self._task.done()

    async def __aenter__(self) -> Self:
        await self.look()
        if self._seconds:
            self._task = asyncio.create_task(self._watch(), name="watcher")
            self._task.add_done_callback(_lament)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Take up every change since the last look."""
        found = await asyncio.to_thread(self._stamps)
        for name, stamps in sorted(found.items()):
            if stamps != self._seen.get(name, {}):
                await self._lifecycle.converge(name)
                self._seen[name] = stamps
        self._lifecycle.tidy()

    def _stamps(self) -> dict[str, dict[int | str, Stamp]]:
        names = {*self._repository.names(), *self._seen}
        return {name: self._repository.stamps(name) for name in names}

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self.look()
            except OSError as exc:  # a file system that is away for a while
                log.warning("the repository cannot be looked at: %s", exc)
            except Exception:  # a defect of one look must not end them all
                log.exception("what has changed in the repository could not be taken up")


def _lament(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.critical("nobody watches the repository any more", exc_info=task.exception())
