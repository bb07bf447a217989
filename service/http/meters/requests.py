"""Requests: how many got which answer, what was refused and why, how long predictions took."""

import asyncio

from prometheus_client import CollectorRegistry, Counter, Histogram

from service.engine.jobs import Timing
from service.http.meters.tally import SECONDS, Tally
from service.http.meters.versions import VersionMeter

HELD = 0.25  # seconds that a request's figures may wait to be handed on
PARTS = ("queue", "compute", "rest")


class RequestMeter:
    """Requests by route, method and status; all is counted on the event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "seqserve_requests",
            "Requests answered",
            ["route", "method", "status"],
            registry=registry,
        )
        self.refused = Counter(
            "seqserve_refused_requests",
            "Requests answered with a problem, by the problem's type",
            ["reason"],
            registry=registry,
        )
        self.latency = Histogram(
            "seqserve_request_seconds",
            "Time of a prediction request, by part: queue, compute, rest",
            ["part"],
            buckets=SECONDS,
            registry=registry,
        )
        self.bytes = Counter(
            "seqserve_body_bytes",
            "Bytes of the bodies of requests and answers: in, out",
            ["direction"],
            registry=registry,
        )
        self.versions = VersionMeter(registry)
        self._received, self._sent = (self.bytes.labels(way) for way in ("in", "out"))
        self._counts: dict[tuple[str, str, int], int] = {}
        self._reasons: dict[str, int] = {}
        self._in = self._out = 0
        self._parts = [Tally(self.latency.labels(part)) for part in PARTS]
        self._queue, self._compute, self._rest = self._parts
        self._flushing = False  # whether a flush is already on the loop's agenda

    def count(self, route: str, method: str, status: int, received: int = 0, sent: int = 0) -> None:
        """Count one request that was answered, and its bytes."""
        key = route, method, status
        self._counts[key] = self._counts.get(key, 0) + 1
        self._in += received
        self._out += sent
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_later(HELD, self.flush)

    def refuse(self, reason: str) -> None:
        """Count, before ``count``, that a request was answered with a problem."""
        self._reasons[reason] = self._reasons.get(reason, 0) + 1

    def observe(self, timing: Timing, total: float) -> None:
        """Count one prediction request of ``total`` seconds by its three parts."""
        queue, compute = timing.queue, timing.compute
        self._queue.observe(queue)
        self._compute.observe(compute)
        self._rest.observe(max(0.0, total - queue - compute))

    def flush(self) -> None:
        """Hand on what was counted since the last time."""
        self._flushing = False
        for (route, method, status), count in self._counts.items():
            self.requests.labels(route, method, str(status)).inc(count)
        for reason, count in self._reasons.items():
            self.refused.labels(reason).inc(count)
        self._counts.clear()
        self._reasons.clear()
        self._received.inc(self._in)
        self._sent.inc(self._out)
        self._in = self._out = 0
        self.versions.flush()
        for part in self._parts:
            part.flush()
