"""Give every request an id, measure it, count it and log it: the outermost layer."""

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.metrics import Metrics

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WELL_FORMED = re.compile(r"^[A-Za-z0-9._-]{1,64}$", re.ASCII)
log = structlog.get_logger("seqserve.access")


class Access:
    """ASGI middleware; puts ``request_id`` and, after a prediction, ``timing`` into the scope."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, log_requests: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._log_requests = log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        scope["request_id"] = request_id = _request_id(Headers(scope=scope))
        status = 499  # unless an answer starts

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._finish(scope, status, time.perf_counter() - started)
            structlog.contextvars.unbind_contextvars("request_id")

    def _finish(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        timing = scope.get("timing")
        if timing is not None:
            self._metrics.observe(timing, seconds)
        if self._log_requests:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                seconds=round(seconds, 6),
                queue_seconds=round(timing.queue, 6) if timing else None,
                compute_seconds=round(timing.compute, 6) if timing else None,
            )


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _WELL_FORMED.match(given) else uuid.uuid4().hex
