"""Poll the repository, and take up what has changed in it."""

import asyncio
import logging

from models.repository import Repository, Stamp
from service.engine.lifecycle import Lifecycle
from service.threads import Threads

log = logging.getLogger(__name__)

ABREAST = 2  # models taken up at a time: each may run a check, which costs memory and time


class Watcher:
    """
    Has each model whose files have changed converge, without waiting for slow ones.

    It compares the stamps of all files at each look: that works on every file system and costs a
    few microseconds a file, in a thread.
    """

    def __init__(self, repository: Repository, lifecycle: Lifecycle, disk: Threads) -> None:
        self._repository = repository
        self._disk = disk
        self._lifecycle = lifecycle
        self._seen: dict[str, dict[int | str, Stamp]] = {}
        self._free = asyncio.Semaphore(ABREAST)
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by model

    async def look(self) -> None:
        """Begin to take up every change since the last look."""
        for name, stamps in sorted((await self._disk.run(self._stamps)).items()):
            if name not in self._tasks and stamps != self._seen.get(name, {}):
                task = asyncio.create_task(self._take_up(name, stamps), name=f"take up {name}")
                self._tasks[name] = task
        self._lifecycle.tidy()

    async def settle(self) -> None:
        """Wait until what was begun is taken up."""
        await asyncio.gather(*self._tasks.values())

    async def close(self) -> None:
        """Take up nothing more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_up(self, name: str, stamps: dict[int | str, Stamp]) -> None:
        try:
            async with self._free:
                await self._lifecycle.converge(name)
            self._seen[name] = stamps
        except OSError as exc:  # a file system that is away for a while
            log.warning("%s cannot be looked at: %s", name, exc)
        except Exception:  # a defect with one model must not keep the others from theirs
            log.exception("what has changed of %s could not be taken up", name)
        finally:
            del self._tasks[name]

    def _stamps(self) -> dict[str, dict[int | str, Stamp]]:
        names = {*self._repository.names(), *self._seen}
        return {name: self._repository.stamps(name) for name in names}
