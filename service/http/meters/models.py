"""Models: in how many processes each version serves, how long it took to load, what failed."""

from prometheus_client import CollectorRegistry, Gauge

from service.engine.core import Engine
from service.http.meters.batches import MODEL

Version = tuple[str, str]  # as labels


class ModelMeter:
    """What one process has loaded, told when it differs from what it had."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.workers = Gauge(
            "seqserve_model_workers",
            "Processes in which the version is in memory",
            MODEL,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.failed = Gauge(
            "seqserve_model_failed",
            "Processes in which the version could not be loaded",
            MODEL,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.load_seconds = Gauge(
            "seqserve_model_load_seconds",
            "Time of the version's last load, its check and measurements included; of the slowest"
            " process",
            MODEL,
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._loaded: dict[Version, float] = {}
        self._failed: set[Version] = set()

    def look(self, engine: Engine) -> None:
        """Tell what has changed since the last look."""
        loaded, failed = _state(engine)
        for gauge, gone, now in (
            (self.workers, self._loaded.keys() - loaded.keys(), loaded.keys()),
            (self.failed, self._failed - failed, failed),
        ):
            for labels in gone:
                gauge.labels(*labels).set(0)
            for labels in now:
                gauge.labels(*labels).set(1)
        for labels, seconds in loaded.items():
            self.load_seconds.labels(*labels).set(seconds)
        self._loaded, self._failed = loaded, failed


def _state(engine: Engine) -> tuple[dict[Version, float], set[Version]]:
    loaded: dict[Version, float] = {}
    failed: set[Version] = set()
    for name in engine.names():
        for model in engine.loaded(name):
            loaded[name, str(model.entry.version)] = model.load_seconds
        failed |= {(name, str(version)) for version in engine.failures(name)}
    return loaded, failed
