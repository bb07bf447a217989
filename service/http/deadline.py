"""How long a request may take: what its caller said, or what the service allows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from service.http.errors import DeadlineExceeded
from service.http.limits import TIMEOUT, Limits


@asynccontextmanager
async def deadline(request: Request, limits: Limits) -> AsyncIterator[None]:
    """Raise DeadlineExceeded in place of what the block has not done in time."""
    milliseconds = limits.deadline_ms(request.headers.get(TIMEOUT))
    try:
        async with asyncio.timeout(milliseconds / 1000):
            yield
    except TimeoutError:
        raise DeadlineExceeded(milliseconds) from None
