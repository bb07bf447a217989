"""Let go of sessions that have been idle too long, now and then."""

import asyncio
import logging
import random
from types import TracebackType
from typing import Self

from service.sessions.errors import StoreUnavailable
from service.sessions.sessions import Sessions

PAUSE = 30.0  # seconds between two looks, on average, so that processes take turns

log = logging.getLogger(__name__)


class Sweeper:
    """Expires sessions while its block lasts, and closes their store at the end."""

    def __init__(self, sessions: Sessions, pause: float = PAUSE) -> None:
        self._sessions = sessions
        self._pause = pause

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._sweep(), name="sweeper")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._sessions.end()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))  # noqa: S311  no secret
            try:
                while gone := await self._sessions.expire():
                    log.info("%d sessions have expired", gone)
            except StoreUnavailable as exc:
                log.warning("no sessions could be expired: %s", exc)
            except Exception:  # the store's defects must not end the sweeping for ever
                log.exception("no sessions could be expired")
