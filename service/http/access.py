"""Give every request an id, measure it, count it and log it: the outermost layer."""

import re
import time
import uuid
from itertools import count
from typing import NamedTuple

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.jobs import Timing
from service.http.metrics import Metrics
from service.memory import Tidy

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WELL_FORMED = re.compile(r"^[A-Za-z0-9._-]{1,64}$", re.ASCII)
_PROCESS = uuid.uuid4().hex[:20]
_NUMBERS = count()
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


class Records:
    """Where every request is counted, measured and logged, whichever way it took."""

    def __init__(self, metrics: Metrics, *, log_requests: bool) -> None:
        self._metrics = metrics
        self._log_requests = log_requests

    def add(self, visit: Visit) -> None:
        """Record one request."""
        method = visit.method if visit.method in _METHODS else "other"
        self._metrics.count(visit.route, method, visit.status)
        timing = visit.timing
        if timing is not None:
            self._metrics.observe(timing, visit.seconds)
        if self._log_requests:
            log.info(
                "request",
                request_id=visit.request_id,
                method=visit.method,
                path=visit.path,
                status=visit.status,
                seconds=round(visit.seconds, 6),
                queue_seconds=round(timing.queue, 6) if timing else None,
                compute_seconds=round(timing.compute, 6) if timing else None,
            )


class Access:
    """ASGI middleware; puts ``request_id`` and, after a prediction, ``timing`` into the scope."""

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
        received = 0  # bytes

        async def count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, count, send_with_id)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - started
            method, path, timing = scope["method"], scope["path"], scope.get("timing")
            self._records.add(Visit(request_id, method, path, route, status, seconds, timing))
            self._tidy.after(received)
            structlog.contextvars.unbind_contextvars("request_id")


def identify(given: str | None) -> str:
    """Return the id of a request: the one given if it is well formed, else a new one."""
    if given is not None and _WELL_FORMED.match(given):
        return given
    return f"{_PROCESS}{next(_NUMBERS):012x}"
