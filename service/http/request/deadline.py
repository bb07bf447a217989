"""How long a request may take: what its caller said, or what the service allows."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from service.engine.jobs import EXPIRES
from service.http.journal.recorder import WHOLE
from service.http.request.limits import TIMEOUT, Limits, left


class Deadline:
    """When a request that began just now must be over."""

    def __init__(self, milliseconds: float) -> None:
        self.milliseconds = milliseconds
        self._began = time.perf_counter()
        self.timer = asyncio.timeout(milliseconds / 1000)
        EXPIRES.set(self._began + milliseconds / 1000)

    def shorten(self, seconds: float | None) -> None:
        """Heed what a body says of its own time; None says nothing.  Raise DeadlineExceeded."""
        if seconds is not None and seconds * 1000 < self.milliseconds:
            self.milliseconds = seconds * 1000
            loop = asyncio.get_running_loop()
            self.timer.reschedule(loop.time() + left(seconds, self._began))
            EXPIRES.set(self._began + seconds)


@asynccontextmanager
async def deadline(request: Request, limits: Limits) -> AsyncIterator[Deadline]:
    """
    Raise DeadlineExceeded in place of what the block has not done in time.

    Raises RequestTimeout if what was not done, in all the time there is, is to send the body.
    """
    found = Deadline(limits.deadline_ms(request.headers.get(TIMEOUT)))
    try:
        async with found.timer:
            yield found
    except TimeoutError:
        whole = request.scope.get(WHOLE, False)
        raise limits.late(found.milliseconds, whole=whole) from None
