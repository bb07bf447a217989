"""Repeat an action in a background task that survives errors and ends with its owner."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Self

log = logging.getLogger(__name__)


class Repeated:
    """
    A context manager that pauses and acts, again and again, until its block ends.

    An exception is logged and does not end the repetition: in one line if it was ``foreseen``,
    otherwise with its traceback.  Pauses vary randomly by the share ``spread``, so that several
    processes do not act at the same time.
    """

    def __init__(
        self,
        name: str,
        act: Callable[[], Awaitable[object]],
        pause: float,
        *,
        spread: float = 0.0,
        foreseen: tuple[type[Exception], ...] = (),
    ) -> None:
        self._name = name
        self._act = act
        self._pause = pause
        self._spread = spread
        self._foreseen = foreseen

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._repeat(), name=self._name)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _repeat(self) -> None:
        while True:
            part = random.uniform(1 - self._spread, 1 + self._spread)  # noqa: S311  no secret
            await asyncio.sleep(self._pause * part)
            try:
                await self._act()
            except self._foreseen as exc:
                log.warning("%s: %s", self._name, exc)
            except Exception:  # a bug in one act must not end them all
                log.exception("%s failed, and goes on", self._name)
