"""Stop working for a client who has gone."""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive

from service.http.errors import ClientGone

GRACE = 0.02  # seconds; most answers leave sooner and never pay for a watcher


class Presence:
    """
    Cancel the work inside the block when its client disconnects; then raise ClientGone.

    The body must have been read: what comes next from the client can only be its leaving.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._work = asyncio.current_task()
        self._timer = loop.call_later(GRACE, self._watch)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watcher:
            self._watcher.cancel()
        work, self._work, self._watcher = self._work, None, None  # a cycle, and in it the body
        if self._gone and work:
            work.uncancel()
            if exc_type is asyncio.CancelledError:
                raise ClientGone("The client left before its answer.") from exc

    def _watch(self) -> None:
        self._watcher = asyncio.create_task(self._listen(), name="presence")

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._work:
            self._work.cancel()
