"""What Prometheus is told; labels are routes, models and statuses, never what a client chose."""

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from service.engine.batcher import BatchReport
from service.engine.jobs import Timing

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters, gauges and histograms of one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        model = ["model", "version"]
        self.requests = Counter(
            "seqserve_requests",
            "Requests answered",
            ["route", "method", "status"],
            registry=registry,
        )
        self.latency = Histogram(
            "seqserve_request_seconds",
            "Time of a prediction request, by part: queue, compute, rest",
            ["part"],
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "seqserve_batch_size", "Sequences in a batch", model, buckets=SIZES, registry=registry
        )
        self.batch_seconds = Histogram(
            "seqserve_batch_seconds", "Time of a batch", model, buckets=SECONDS, registry=registry
        )
        self.batch_failures = Counter(
            "seqserve_batch_failures", "Batches the model failed on", model, registry=registry
        )
        self.steps = Counter("seqserve_steps", "Time steps asked for", model, registry=registry)
        self.padded_steps = Counter(
            "seqserve_padded_steps",
            "Time steps computed, padding included",
            model,
            registry=registry,
        )
        self.waiting = Gauge(
            "seqserve_waiting_sequences",
            "Sequences in the queue",
            model,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._children: dict[tuple[str, str, int], Counter] = {}
        parts = {part: self.latency.labels(part) for part in ("queue", "compute", "rest")}
        self._queue, self._compute, self._rest = parts["queue"], parts["compute"], parts["rest"]

    def count(self, route: str, method: str, status: int) -> None:
        """Count one request that was answered."""
        key = route, method, status
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self.requests.labels(route, method, str(status))
        child.inc()

    def observe(self, timing: Timing, total: float) -> None:
        """Count one prediction request of ``total`` seconds by its three parts."""
        self._queue.observe(timing.queue)
        self._compute.observe(timing.compute)
        self._rest.observe(max(0.0, total - timing.queue - timing.compute))

    def observer(self, model: str, version: int) -> "ModelMetrics":
        """Return who listens to one model's batches."""
        return ModelMetrics(self, model, str(version))

    def render(self) -> bytes:
        """Write all metrics as Prometheus text, those of every worker added up."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no annotations
        return generate_latest(registry)


class ModelMetrics:
    """One model's share: the engine's Observer."""

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        self._size = metrics.batch_size.labels(model, version)
        self._seconds = metrics.batch_seconds.labels(model, version)
        self._failures = metrics.batch_failures.labels(model, version)
        self._steps = metrics.steps.labels(model, version)
        self._padded_steps = metrics.padded_steps.labels(model, version)
        self._waiting = metrics.waiting.labels(model, version)

    def on_batch(self, report: BatchReport) -> None:
        self._size.observe(report.size)
        self._seconds.observe(report.seconds)
        self._steps.inc(report.steps)
        self._padded_steps.inc(report.padded_steps)
        if report.failed:
            self._failures.inc()

    def on_waiting(self, waiting: int) -> None:
        self._waiting.set(waiting)
