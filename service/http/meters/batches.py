"""Batches: how full, how long, how much of them was padding, and who waits for the next one."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.engine.observer import BatchReport
from service.http.meters.tally import SECONDS

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MODEL = ("model", "version")
SIZE = "seqserve_batch_size"
FAILURES = "seqserve_batch_failures"
FAILED_SEQUENCES = "seqserve_failed_sequences"


class BatchMeter:
    """The batches of all models."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.size = Histogram(SIZE, "Sequences in a batch", MODEL, buckets=SIZES, registry=registry)
        self.seconds = Histogram(
            "seqserve_batch_seconds", "Time of a batch", MODEL, buckets=SECONDS, registry=registry
        )
        self.failures = Counter(FAILURES, "Batches the model failed on", MODEL, registry=registry)
        self.failed_sequences = Counter(
            FAILED_SEQUENCES, "Sequences the model failed on", MODEL, registry=registry
        )
        self.steps = Counter("seqserve_steps", "Time steps asked for", MODEL, registry=registry)
        self.padded_steps = Counter(
            "seqserve_padded_steps",
            "Time steps computed, padding included",
            MODEL,
            registry=registry,
        )
        self.waiting = Gauge(
            "seqserve_waiting_sequences",
            "Sequences in the queue",
            MODEL,
            registry=registry,
            multiprocess_mode="livesum",
        )

    def of(self, model: str, version: int) -> "ModelBatches":
        """Return who listens to one model's batches."""
        return ModelBatches(self, model, str(version))


class ModelBatches:
    """One model's share: the engine's Observer."""

    def __init__(self, meter: BatchMeter, model: str, version: str) -> None:
        self._size = meter.size.labels(model, version)
        self._seconds = meter.seconds.labels(model, version)
        self._failures = meter.failures.labels(model, version)
        self._failed_sequences = meter.failed_sequences.labels(model, version)
        self._steps = meter.steps.labels(model, version)
        self._padded_steps = meter.padded_steps.labels(model, version)
        self._waiting = meter.waiting.labels(model, version)

    def on_batch(self, report: BatchReport) -> None:
        self._size.observe(report.size)
        self._seconds.observe(report.seconds)
        self._steps.inc(report.steps)
        self._padded_steps.inc(report.padded_steps)
        if report.failed:
            self._failures.inc()
            self._failed_sequences.inc(report.failed)

    def on_waiting(self, waiting: int) -> None:
        self._waiting.set(waiting)
