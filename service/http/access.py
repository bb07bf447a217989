"""Give every request an id, measure it, count it and log it: the outermost layer."""

import re
import time
import uuid
from itertools import count
from typing import NamedTuple

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.repository import Entry
from service.engine.jobs import Timing
from service.http.metrics import Metrics
from service.memory import Tidy

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WELL_FORMED = re.compile(r"^[A-Za-z0-9._-]{1,64}$", re.ASCII)
_PROCESS = uuid.uuid4().hex[:20]
_NUMBERS = count()
DEFECT = "defect"  # the reason of an answer that no row of the table foresaw
_LONGEST = 256  # characters of a path that are logged
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


class Records:
    """Where every request is counted, measured and logged, whichever way it took."""

    def __init__(self, metrics: Metrics, *, log_requests: bool) -> None:
        self._requests = metrics.requests
        self._log_requests = log_requests

    def add(self, visit: Visit) -> None:
        """Record one request."""
        method = visit.method if visit.method in _METHODS else "other"
        if visit.reason is not None:
            self._requests.refuse(visit.reason)
        self._requests.count(visit.route, method, visit.status, visit.received, visit.sent)
        if visit.timing is not None:
            self._requests.observe(visit.timing, visit.seconds)
        if self._log_requests:
            _write(visit, method)


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
        status = 499  # unless an answer starts
        received = sent = 0  # bytes

        async def count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
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
                )
            )
            self._tidy.after(received)
            structlog.contextvars.unbind_contextvars("request_id")


def identify(given: str | None) -> str:
    """Return the id of a request: the one given if it is well formed, else a new one."""
    if given is not None and _WELL_FORMED.match(given):
        return given
    return f"{_PROCESS}{next(_NUMBERS):012x}"
