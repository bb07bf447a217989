"""Shadows: what was asked of them, and by how much their answers differ from those given."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from service.engine.loading import LoadedModel
from service.engine.shadow import Fate, Found
from service.http.meters.batches import MODEL
from service.sessions.observer import PairedErrors

_TARGET = (*MODEL, "target")


class ShadowMeter:
    """The shadows of all models; the engine's ShadowObserver."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "seqserve_shadow_requests",
            "Requests that a shadow was to be asked, by what became of them",
            (*MODEL, "outcome"),
            registry=registry,
        )
        self.values = Counter(
            "seqserve_shadow_values",
            "Predicted values of a shadow that were compared",
            _TARGET,
            registry=registry,
        )
        self.difference = Counter(
            "seqserve_shadow_absolute_difference",
            "Sum of the absolute differences of these values, in the target's unit",
            _TARGET,
            registry=registry,
        )
        self.largest = Gauge(
            "seqserve_shadow_largest_difference",
            "The largest of them since the process began",
            _TARGET,
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.steps = Counter(
            "seqserve_shadow_live_steps",
            "Forecasts of a shadow for the next step of a session that what came has scored",
            _TARGET,
            registry=registry,
        )
        self.errors = Counter(
            "seqserve_shadow_live_absolute_error",
            "Sum of their absolute errors, in the target's unit",
            _TARGET,
            registry=registry,
        )
        self.primary_errors = Counter(
            "seqserve_shadow_live_primary_absolute_error",
            "The same of the forecasts that were given, over the same steps",
            _TARGET,
            registry=registry,
        )
        self._largest: dict[tuple[str, str, str], float] = {}

    def on_shadow(self, shadow: LoadedModel, fate: Fate, found: Found) -> None:
        """Hear what became of one request, and by how much the answers differ."""
        model = shadow.entry.name, str(shadow.entry.version)
        self.requests.labels(*model, fate).inc()
        for target, difference in found.items():
            labels = *model, target
            self.values.labels(*labels).inc(difference.count)
            self.difference.labels(*labels).inc(difference.total)
            largest = max(self._largest.get(labels, 0.0), difference.largest)
            self._largest[labels] = largest
            self.largest.labels(*labels).set(largest)

    def count(self, model: str, version: int, found: Mapping[str, PairedErrors]) -> None:
        """Count what steps have shown of a shadow's forecasts, by target."""
        for target, each in found.items():
            labels = model, str(version), target
            self.steps.labels(*labels).inc(each.steps)
            self.errors.labels(*labels).inc(each.shadow)
            self.primary_errors.labels(*labels).inc(each.primary)
