"""What Prometheus is told; labels are routes, models and statuses, never what a client chose."""

import os
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from service.engine.core import Engine
from service.http.meters.batches import BatchMeter, ModelBatches
from service.http.meters.models import ModelMeter
from service.http.meters.processes import Processes
from service.http.meters.requests import RequestMeter
from service.http.meters.sessions import LiveMeter, StepMeter, StoreMeter
from service.http.meters.shadows import ShadowMeter
from service.http.meters.tally import SECONDS
from service.sessions.observer import PairedErrors, StepsReport
from service.sessions.score import Sums

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

# When each series began: as many series again, which one process has and several do not.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations


class Metrics:
    """All families of one process, and the text of those of every worker."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        folder = os.environ.get(MULTIPROCESS)
        self._folder = None if folder is None else Path(folder)
        self.requests = RequestMeter(registry)
        self.batches = BatchMeter(registry)
        self.models = ModelMeter(registry)
        self.steps = StepMeter(registry)
        self.store = StoreMeter(registry)
        self.live = LiveMeter(registry)
        self.shadows = ShadowMeter(registry)
        self.loop_lag = Histogram(
            "seqserve_loop_lag_seconds",
            "How late the event loop was, asked twice a second",
            buckets=SECONDS,
            registry=registry,
        )
        self._version = installed("seqserve")
        self._build = Gauge(
            "seqserve_build",
            "1; which version runs, and where its models do",
            ["version", "provider"],
            registry=registry,
            multiprocess_mode="livemax",
        )

    def observer(self, model: str, version: int) -> ModelBatches:
        """Return who listens to one model's batches."""
        return self.batches.of(model, version)

    def on_steps(self, report: StepsReport) -> None:
        """Hear how steps of sessions went."""
        self.steps.count(report)

    def on_scored(self, model: str, version: int, found: Mapping[str, Sums]) -> None:
        """Hear how good forecasts were, by target."""
        self.live.count(model, version, found)

    def on_shadow_scored(self, model: str, version: int, found: Mapping[str, PairedErrors]) -> None:
        """Hear how good a shadow's forecasts were beside those given, by target."""
        self.shadows.count(model, version, found)

    def on_beat(self, engine: Engine, lag: float) -> None:
        """Hear how late the event loop is, and look what the engine has."""
        self.loop_lag.observe(lag)
        self.models.look(engine)
        if engine.device is not None:
            self._build.labels(self._version, engine.device.provider).set(1)

    def flush(self) -> None:
        """Hand on what was counted since the last time; on the event loop."""
        self.requests.flush()

    def collect(self) -> list[Metric]:
        """Return what ``render`` writes, but for the processes; in any thread."""
        return list(self._shared(Processes(self._folder)).collect())

    def render(self) -> bytes:
        """
        Write all metrics as Prometheus text, those of every worker added up; in any thread.

        What was counted in the last quarter of a second, and not flushed, may be missing.
        """
        processes, own = Processes(self._folder), CollectorRegistry()
        own.register(processes)
        return generate_latest(self._shared(processes)) + generate_latest(own)

    def _shared(self, processes: Processes) -> CollectorRegistry:
        """Return the families of every worker, added up; the dead are forgotten first."""
        if self._folder is None:
            return self._registry
        processes.living()
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]  # it has no annotations
        return shared
