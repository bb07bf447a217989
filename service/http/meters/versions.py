"""Predictions by version: how many were answered, how many were not, where their time went."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge

from models.repository import Entry
from service.engine.jobs import Timing
from service.http.meters.batches import MODEL

REQUESTS, SECONDS, LAST = (
    "seqserve_version_requests",
    "seqserve_version_request_seconds",
    "seqserve_version_last_request_timestamp_seconds",
)
ANSWERED, FAILED = "answered", "failed"


class _Sums:
    """What was counted of one version since it was handed on."""

    __slots__ = ("answered", "compute", "failed", "failed_seconds", "queue", "seconds")

    def __init__(self) -> None:
        self.answered = self.failed = 0
        self.seconds = self.queue = self.compute = self.failed_seconds = 0.0


class VersionMeter:
    """Requests that asked a version for a prediction."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            REQUESTS,
            "Prediction requests by version: answered, failed (whoever's the fault)",
            [*MODEL, "outcome"],
            registry=registry,
        )
        self.seconds = Counter(
            SECONDS,
            "Time of prediction requests by version and part: queue, compute, rest; of those that "
            "failed the whole",
            [*MODEL, "part"],
            registry=registry,
        )
        self.last = Gauge(
            LAST,
            "When a prediction request last ended",
            MODEL,
            registry=registry,
            multiprocess_mode="max",
        )
        self._sums: dict[tuple[str, int], _Sums] = {}

    def count(self, entry: Entry, timing: Timing | None, seconds: float) -> None:
        """Count one request; without a timing it failed."""
        key = entry.name, entry.version
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = _Sums()
        if timing is None:
            sums.failed += 1
            sums.failed_seconds += seconds
        else:
            sums.answered += 1
            sums.seconds += seconds
            sums.queue += timing.queue
            sums.compute += timing.compute

    def flush(self) -> None:
        """Hand on what was counted since the last time."""
        for (name, version), sums in self._sums.items():
            labels = name, str(version)
            if sums.answered:
                self.requests.labels(*labels, ANSWERED).inc(sums.answered)
                self.seconds.labels(*labels, "queue").inc(sums.queue)
                self.seconds.labels(*labels, "compute").inc(sums.compute)
                rest = max(0.0, sums.seconds - sums.queue - sums.compute)
                self.seconds.labels(*labels, "rest").inc(rest)
            if sums.failed:
                self.requests.labels(*labels, FAILED).inc(sums.failed)
                self.seconds.labels(*labels, FAILED).inc(sums.failed_seconds)
            self.last.labels(*labels).set(time.time())
        self._sums.clear()
