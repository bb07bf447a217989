"""What Prometheus is told; labels are routes, models and statuses, never what a client chose."""

import asyncio
import os
from bisect import bisect_left
from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from service.engine.jobs import Timing
from service.engine.observer import BatchReport
from service.sessions.observer import StepsReport
from service.sessions.score import ERROR, HITS, NAIVE, STEPS, Sums

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
HELD = 0.25  # seconds that a request's figures may wait to be handed on
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Tally:
    """
    A histogram's observations in plain numbers, handed on together.

    A histogram that several processes share locks and writes a file at each observation, which
    costs a request more than everything else that is measured about it.
    """

    def __init__(self, histogram: Histogram) -> None:
        # The library has no way to observe many values at once; these are what its own
        # ``observe`` adds to.
        self._buckets, self._total = histogram._buckets, histogram._sum  # noqa: SLF001
        self._bounds = histogram._upper_bounds  # noqa: SLF001
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def flush(self) -> None:
        """Add what was counted to the histogram."""
        for place, count in enumerate(self._counts):
            if count:
                self._buckets[place].inc(count)
        self._total.inc(self._sum)
        self._counts, self._sum = [0] * len(self._bounds), 0.0


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
        self.session_steps = Counter(
            "seqserve_session_steps",
            "Steps of sessions, by what became of them: taken, replayed, refused",
            ["outcome"],
            registry=registry,
        )
        self.session_seconds = Counter(
            "seqserve_session_seconds",
            "Time of taking steps, by part: store, rest",
            ["part"],
            registry=registry,
        )
        live = [*model, "target"]
        self.live_steps = Counter(
            "seqserve_live_steps", "Forecasts that a next step has scored", live, registry=registry
        )
        self.live_errors = Counter(
            "seqserve_live_absolute_error",
            "Sum of the absolute errors of the forecasts of the next step, in the target's unit",
            live,
            registry=registry,
        )
        self.live_naive_errors = Counter(
            "seqserve_live_seasonal_naive_absolute_error",
            "The same of seasonal naive, over the same steps",
            live,
            registry=registry,
        )
        self.live_covered = Counter(
            "seqserve_live_covered_steps",
            "Scored steps that lay between the lowest and the highest quantile forecast",
            live,
            registry=registry,
        )
        self._counts: dict[tuple[str, str, int], int] = {}
        self._parts = [Tally(self.latency.labels(part)) for part in ("queue", "compute", "rest")]
        self._queue, self._compute, self._rest = self._parts
        self._flushing = False  # whether a flush is already on the loop's agenda

    def count(self, route: str, method: str, status: int) -> None:
        """Count one request that was answered; on the event loop."""
        key = route, method, status
        self._counts[key] = self._counts.get(key, 0) + 1
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_later(HELD, self.flush)

    def observe(self, timing: Timing, total: float) -> None:
        """Count one prediction request of ``total`` seconds by its three parts."""
        queue, compute = timing
        self._queue.observe(queue)
        self._compute.observe(compute)
        self._rest.observe(max(0.0, total - queue - compute))

    def flush(self) -> None:
        """Hand on what was counted since the last time."""
        self._flushing = False
        for (route, method, status), count in self._counts.items():
            self.requests.labels(route, method, str(status)).inc(count)
        self._counts.clear()
        for part in self._parts:
            part.flush()

    def observer(self, model: str, version: int) -> "ModelMetrics":
        """Return who listens to one model's batches."""
        return ModelMetrics(self, model, str(version))

    def on_steps(self, report: StepsReport) -> None:
        """Hear how steps of sessions went."""
        counts = report.taken, report.replayed, report.refused
        for outcome, count in zip(("taken", "replayed", "refused"), counts, strict=True):
            if count:
                self.session_steps.labels(outcome).inc(count)
        self.session_seconds.labels("store").inc(report.store_seconds)
        self.session_seconds.labels("rest").inc(max(0.0, report.seconds - report.store_seconds))

    def on_scored(self, model: str, version: int, found: Mapping[str, Sums]) -> None:
        """Hear how good forecasts were, by target."""
        for target, sums in found.items():
            labels = model, str(version), target
            self.live_steps.labels(*labels).inc(sums[STEPS])
            self.live_errors.labels(*labels).inc(sums[ERROR])
            self.live_naive_errors.labels(*labels).inc(sums[NAIVE])
            self.live_covered.labels(*labels).inc(sums[HITS])

    def render(self) -> bytes:
        """
        Write all metrics as Prometheus text, those of every worker added up.

        What other workers counted in the last quarter of a second may be missing.
        """
        self.flush()
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
