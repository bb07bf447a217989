"""Sessions: their steps, the store that keeps them, and how good their forecasts were."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from service.http.meters.batches import MODEL
from service.sessions.errors import StoreUnavailable
from service.sessions.observer import StepsReport
from service.sessions.score import ERROR, HITS, NAIVE, STEPS, Sums
from service.sessions.store import Store


class StepMeter:
    """Steps by what became of them, and the time they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.steps = Counter(
            "seqserve_session_steps",
            "Steps of sessions, by what became of them: taken, replayed, refused",
            ["outcome"],
            registry=registry,
        )
        self.seconds = Counter(
            "seqserve_session_seconds",
            "Time of taking steps, by part: store, rest",
            ["part"],
            registry=registry,
        )

    def count(self, report: StepsReport) -> None:
        """Count the steps of one transaction."""
        counts = report.taken, report.replayed, report.refused
        for outcome, count in zip(("taken", "replayed", "refused"), counts, strict=True):
            if count:
                self.steps.labels(outcome).inc(count)
        self.seconds.labels("store").inc(report.store_seconds)
        self.seconds.labels("rest").inc(max(0.0, report.seconds - report.store_seconds))


class StoreMeter:
    """The store, as the process that was asked last has found it; all share one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, meaning: str) -> Gauge:
            return Gauge(name, meaning, registry=registry, multiprocess_mode="mostrecent")

        self.ready = gauge("seqserve_store_ready", "1 if the sessions' store answers, 0 if not")
        self.sessions = gauge("seqserve_sessions", "Sessions kept, at the last good look")
        self.bytes = gauge("seqserve_session_bytes", "Bytes of their states and last answers")

    async def look(self, store: Store) -> None:
        """Ask the store, which answers or gives up in a time of its own."""
        ready = await store.ready()
        try:
            usage = await store.usage() if ready else None
        except StoreUnavailable:
            ready, usage = False, None
        self.ready.set(ready)
        if usage is not None:
            self.sessions.set(usage.sessions)
            self.bytes.set(usage.bytes)


class LiveMeter:
    """Forecasts of the next step, held against what came."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = [*MODEL, "target"]
        self.steps = Counter(
            "seqserve_live_steps",
            "Forecasts that a next step has scored",
            labels,
            registry=registry,
        )
        self.errors = Counter(
            "seqserve_live_absolute_error",
            "Sum of the absolute errors of the forecasts of the next step, in the target's unit",
            labels,
            registry=registry,
        )
        self.naive_errors = Counter(
            "seqserve_live_seasonal_naive_absolute_error",
            "The same of seasonal naive, over the same steps",
            labels,
            registry=registry,
        )
        self.covered = Counter(
            "seqserve_live_covered_steps",
            "Scored steps that lay between the lowest and the highest quantile forecast",
            labels,
            registry=registry,
        )

    def count(self, model: str, version: int, found: Mapping[str, Sums]) -> None:
        """Add what steps have shown of the forecasts before them, by target."""
        for target, sums in found.items():
            labels = model, str(version), target
            self.steps.labels(*labels).inc(sums[STEPS])
            self.errors.labels(*labels).inc(sums[ERROR])
            self.naive_errors.labels(*labels).inc(sums[NAIVE])
            self.covered.labels(*labels).inc(sums[HITS])
