"""The gate as ASGI middleware, inside what counts and logs and outside everything else."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from service.http.access.doors import Entrance
from service.http.access.gate import Visitor
from service.http.journal.records import Records
from service.http.problems.denial import deny
from service.http.problems.table import answer, reason
from service.keys.errors import AccessError

PERIOD = 0.5  # seconds after which an open stream's key is looked at again
CODE, REASON = 1008, "the key is no longer valid"
CLOSED: Message = {"type": "websocket.disconnect", "code": CODE, "reason": REASON}


class Guard:
    """ASGI middleware; puts the ``visitor`` into the scope, or answers 401, 403 or 429."""

    def __init__(self, app: ASGIApp, gate: Entrance, records: Records) -> None:
        self._app = app
        self._gate = gate
        self._records = records
        self._streams = Streams()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            visitor = await self._gate.enter(scope)
        except AccessError as exc:
            await self._refuse(exc, scope, receive, send)
            return
        if scope["type"] == "websocket" and visitor is not None:
            await self._streams.run(self._app, visitor, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _refuse(self, exc: AccessError, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["problem"] = reason(exc)
            await answer(exc, scope.get("request_id"))(scope, receive, send)
        else:
            await deny(WebSocket(scope, receive, send), exc, self._records)


class Streams:
    """The WebSockets that are open, each closed when its key no longer opens it."""

    def __init__(self) -> None:
        self._ends: dict[Visitor, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def run(
        self, app: ASGIApp, visitor: Visitor, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let the application serve one stream while its visitor stays."""
        over = asyncio.Event()

        async def send_while_open(message: Message) -> None:
            if over.is_set():
                raise OSError("the stream is closed")  # what Starlette takes for a client's leaving
            await send(message)

        async def receive_while_open() -> Message:
            message = await receive()
            return CLOSED if over.is_set() else message

        async def close() -> None:
            await over.wait()
            with suppress(OSError, RuntimeError):  # the client left, or the application closed it
                await send({"type": "websocket.close", "code": CODE, "reason": REASON})

        self._ends[visitor] = over.set
        self._wait()
        closing = asyncio.create_task(close(), name="close-stream")
        try:
            await app(scope, receive_while_open, send_while_open)
        finally:
            del self._ends[visitor]
            closing.cancel()

    def _wait(self) -> None:
        if self._timer is None and self._ends:
            self._timer = asyncio.get_running_loop().call_later(PERIOD, self._look)

    def _look(self) -> None:
        self._timer = None
        for visitor, end in self._ends.items():
            if not visitor.stays():
                end()
        self._wait()
