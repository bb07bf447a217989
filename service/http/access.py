"""Give every request an id, measure it, count it, log it and trace it: the outermost layer."""

import re
import time
import uuid
from collections.abc import Iterable
from itertools import count
from typing import NamedTuple, Protocol

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.repository import Entry
from service.engine.jobs import ORIGIN, Timing
from service.engine.loading import ObserverFactory
from service.http.metrics import Metrics
from service.memory import Tidy

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WELL_FORMED = re.compile(r"^[A-Za-z0-9._-]{1,64}$", re.ASCII)
_PROCESS = uuid.uuid4().hex[:20]
_NUMBERS = count()
DEFECT = "defect"  # the reason of an answer that no row of the table foresaw
_LONGEST = 256  # characters of a path that are logged
REFUSAL = "refusal"  # in the scope: the error that ended the connection while the body came
WHOLE = "whole"  # in the scope: whether the body has come
log = structlog.get_logger("seqserve.access")


class Visit(NamedTuple):
    """One request that is over."""

    request_id: str
    method: str
    path: str
    route: str
    status: int
    seconds: float
    timing: Timing | None = None  # of a prediction
    entry: Entry | None = None  # the version that was asked
    received: int = 0  # bytes of the request's body
    sent: int = 0  # and of the answer's
    reason: str | None = None  # the type of the problem that was the answer
    caller: str | None = None  # the name of the key that was shown
    origin: object = None  # what ``begin`` returned


class Tracing(Protocol):
    """Makes spans of requests and of their batches."""

    def begin(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> object:
        """Return the span of a request that begins; None if it is not sampled."""

    def end(self, visit: Visit) -> None:
        """End the span of a request that is over."""

    def beside(self, observers: ObserverFactory) -> ObserverFactory:
        """Return observers of batches that trace, and tell those given."""

    async def close(self) -> None:
        """Send what is left, if it can be sent in time."""


class Records:
    """Where every request is counted, measured, logged and traced, whichever way it took."""

    def __init__(
        self, metrics: Metrics, *, log_requests: bool, tracing: Tracing | None = None
    ) -> None:
        self._tracing = tracing
        self._requests = metrics.requests
        self._log_requests = log_requests

    def begin(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> object:
        """Return the origin of a request that begins; None if nobody traces it."""
        return None if self._tracing is None else self._tracing.begin(method, headers)

    def end(self, visit: Visit) -> None:
        """End what ``begin`` began, without a record; ``add`` does so, too."""
        if visit.origin is not None and self._tracing is not None:
            self._tracing.end(visit)

    def add(self, visit: Visit) -> None:
        """Record one request."""
        method = visit.method if visit.method in _METHODS else "other"
        if visit.reason is not None:
            self._requests.refuse(visit.reason)
        self._requests.count(visit.route, method, visit.status, visit.received, visit.sent)
        if visit.entry is not None:
            self._requests.versions.count(visit.entry, visit.timing, visit.seconds)
        if visit.timing is not None:
            self._requests.observe(visit.timing, visit.seconds)
        if self._log_requests:
            _write(visit, method)
        self.end(visit)


def _write(visit: Visit, method: str) -> None:
    """Log one request; a path that goes on and on is cut, and what is not known left out."""
    entry, timing = visit.entry, visit.timing
    more: dict[str, object] = {}
    if entry is not None:
        more |= {"model": entry.name, "version": entry.version}
    if timing is not None:
        more["queue_seconds"] = round(timing.queue, 6)
        more["compute_seconds"] = round(timing.compute, 6)
        more["batch"] = timing.batch
    if visit.reason is not None:
        more["problem"] = visit.reason
    if visit.caller is not None:
        more["caller"] = visit.caller
    path = visit.path
    log.info(
        "request",
        request_id=visit.request_id,
        method=method,
        path=path if len(path) <= _LONGEST else f"{path[:_LONGEST]}...",
        status=visit.status,
        seconds=round(visit.seconds, 6),
        received=visit.received,
        sent=visit.sent,
        **more,
    )


class Access:
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
        started = time.perf_counter()
        scope["request_id"] = request_id = identify(Headers(scope=scope).get("x-request-id"))
        origin = self._records.begin(scope["method"], scope["headers"])
        carried = ORIGIN.set(origin)
        status = 499  # unless an answer starts
        received = sent = 0  # bytes

        async def count() -> Message:
            nonlocal received
            message = await receive()
            if REFUSAL in scope:
                raise scope[REFUSAL]
            received += len(message.get("body", b""))
            scope[WHOLE] = not message.get("more_body", False)
            return message

        async def send_with_id(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            else:
                sent += len(message.get("body", b""))
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, count, send_with_id)
        except Exception:  # a layer further out answers it
            status, scope["problem"] = 500, DEFECT
            raise
        finally:
            ORIGIN.reset(carried)
            route = getattr(scope.get("route"), "path", "none")
            self._records.add(
                Visit(
                    request_id,
                    scope["method"],
                    scope["path"],
                    route,
                    status,
                    time.perf_counter() - started,
                    scope.get("timing"),
                    scope.get("entry"),
                    received,
                    sent,
                    scope.get("problem"),
                    scope.get("caller"),
                    origin,
                )
            )
            self._tidy.after(received)
            structlog.contextvars.unbind_contextvars("request_id")


def identify(given: str | None) -> str:
    """Return the id of a request: the one given if it is well formed, else a new one."""
    if given is not None and _WELL_FORMED.match(given):
        return given
    return f"{_PROCESS}{next(_NUMBERS):012x}"
