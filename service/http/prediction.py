"""One prediction: read the request and ask the engine before the deadline; knows no wire format."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from fastapi import Request

from service.engine.core import Engine, LoadedModel
from service.engine.jobs import Answer, Row
from service.http.errors import DeadlineExceeded
from service.http.presence import Presence, deadline_ms


class Rows(Protocol):
    """What every wire format makes of a request."""

    @property
    def rows(self) -> Sequence[Row]:
        """The sequences to answer, in order."""


Q = TypeVar("Q", bound=Rows)


async def ask(
    engine: Engine,
    model: LoadedModel,
    request: Request,
    longest_ms: int,
    read: Callable[[], Awaitable[Q]],
) -> tuple[Q, list[Answer]]:
    """
    Return what ``read`` made of the body, and the answers to its rows.

    Raises DeadlineExceeded and ClientGone beside all that ``read`` and the engine raise.
    """
    milliseconds = deadline_ms(request, longest_ms)
    try:
        async with asyncio.timeout(milliseconds / 1000):
            query = await read()
            async with Presence(request.receive):
                answers, request.scope["timing"] = await engine.predict(model, query.rows)
    except TimeoutError:
        raise DeadlineExceeded(milliseconds) from None
    return query, answers
