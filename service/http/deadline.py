"""How long a request may take: what its caller said, or what the service allows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from service.http.errors import DeadlineExceeded
from service.http.limits import TIMEOUT, Limits


class Deadline:
    """When a request that began just now must be over."""

    def __init__(self, milliseconds: float) -> None:
        self._milliseconds = milliseconds
        self._began = asyncio.get_running_loop().time()
        self.timer = asyncio.timeout(milliseconds / 1000)

    def shorten(self, seconds: float | None) -> None:
        """Heed what a body says of its own time; None says nothing.  Raise DeadlineExceeded."""
        if seconds is None or seconds * 1000 >= self._milliseconds:
            return
        self._milliseconds = seconds * 1000
        ends = self._began + seconds
        if ends <= asyncio.get_running_loop().time():
            raise self.exceeded
        self.timer.reschedule(ends)

    @property
    def exceeded(self) -> DeadlineExceeded:
        """What to say when it has passed."""
        return DeadlineExceeded(self._milliseconds)


@asynccontextmanager
async def deadline(request: Request, limits: Limits) -> AsyncIterator[Deadline]:
    """Raise DeadlineExceeded in place of what the block has not done in time."""
    found = Deadline(limits.deadline_ms(request.headers.get(TIMEOUT)))
    try:
        async with found.timer:
            yield found
    except TimeoutError:
        raise found.exceeded from None
