"""Where every request ends up: counted, measured, logged and traced, whichever way it took."""

import re
import uuid
from collections.abc import Iterable
from itertools import count
from typing import NamedTuple, Protocol

import structlog

from models.repository import Entry
from service.engine.jobs import Timing
from service.engine.loading import ObserverFactory
from service.http.meters.metrics import Metrics

RECORDS = "records"  # where the lifespan's state holds them
DEFECT = "defect"  # the reason of an answer that no row of the table foresaw
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WELL_FORMED = re.compile(r"^[A-Za-z0-9._-]{1,64}$", re.ASCII)
_PROCESS = uuid.uuid4().hex[:20]
_NUMBERS = count()
_LONGEST = 256  # characters of a path that are logged
log = structlog.get_logger("seqserve.access")


def identify(given: str | None) -> str:
    """Return the id of a request: the one given if it is well formed, else a new one."""
    if given is not None and _WELL_FORMED.match(given):
        return given
    return f"{_PROCESS}{next(_NUMBERS):012x}"


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
    spent: Timing | None = None  # in the engine, by whatever was asked


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
    entry, timing = visit.entry, visit.timing or visit.spent
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
