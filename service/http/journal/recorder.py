"""Give every request an id, and record what became of it: the outermost layer."""

import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.jobs import ORIGIN, SPENT, Spent
from service.http.journal.records import DEFECT, Records, Visit, identify
from service.memory import Tidy

REFUSAL = "refusal"  # in the scope: the error that ended the connection while the body came
WHOLE = "whole"  # in the scope: whether the body has come


class Recorder:
    """
    ASGI middleware; puts ``request_id`` into the scope.

    Whoever answers may leave there ``timing`` and ``entry`` of a prediction, ``problem``, the
    type of a refusal, and ``caller``, the name of the key that was shown.
    """

    def __init__(self, app: ASGIApp, records: Records, tidy: Tidy) -> None:
        self._app = app
        self._records = records
        self._tidy = tidy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = identify(Headers(scope=scope).get("x-request-id"))
        scope["request_id"] = request_id
        passage = _Passage(scope, receive, send, request_id)
        origin = self._records.begin(scope["method"], scope["headers"])
        carried, adding = ORIGIN.set(origin), SPENT.set(passage.spent)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, passage.receive, passage.send)
        except Exception:  # a layer further out answers it
            passage.status, scope["problem"] = 500, DEFECT
            raise
        finally:
            ORIGIN.reset(carried)
            SPENT.reset(adding)
            self._records.add(passage.visit(origin))
            self._tidy.after(passage.received)
            structlog.contextvars.unbind_contextvars("request_id")


class _Passage:
    """What goes past this layer of one request and of its answer."""

    __slots__ = (
        "_receive",
        "_request_id",
        "_scope",
        "_send",
        "_started",
        "received",
        "sent",
        "spent",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self._started = time.perf_counter()
        self._scope, self._receive, self._send = scope, receive, send
        self._request_id = request_id
        self.status = 499  # unless an answer starts
        self.received = self.sent = 0  # bytes
        self.spent = Spent()

    async def receive(self) -> Message:
        message = await self._receive()
        if REFUSAL in self._scope:
            raise self._scope[REFUSAL]
        self.received += len(message.get("body", b""))
        self._scope[WHOLE] = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self._request_id
        else:
            self.sent += len(message.get("body", b""))
        await self._send(message)

    def visit(self, origin: object) -> Visit:
        """Return the record of the request, which is over."""
        scope = self._scope
        return Visit(
            self._request_id,
            scope["method"],
            scope["path"],
            getattr(scope.get("route"), "path", "none"),
            self.status,
            time.perf_counter() - self._started,
            scope.get("timing"),
            scope.get("entry"),
            self.received,
            self.sent,
            scope.get("problem"),
            scope.get("caller"),
            origin,
            self.spent.timing,
        )
