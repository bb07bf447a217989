"""From a file to a model that answers: vet it, open it, measure it."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from weakref import WeakSet

from models.contract import ModelCard
from models.repository import Entry
from service.engine.batcher import Batcher, Slots
from service.engine.costs import CostGrid
from service.engine.observer import Observer
from service.engine.options import EngineOptions
from service.engine.runner import RUNTIME, Device, OnnxRunner, choose_device
from service.engine.selfcheck import SelfCheck, check
from service.engine.tuning import CostCache, measure, sizes_up_to
from service.engine.vetting.report import Report
from service.engine.vetting.verdict import vet
from service.threads import Threads

log = logging.getLogger(__name__)

LOADS = 4  # at a time: each may run a check, which costs memory and time

ObserverFactory = Callable[[str, int], Observer | None]


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class LoadedModel:
    """
    A version in memory, and what its checks found.

    It answers as long as it is referenced, even if it no longer serves; when the last reference
    is gone its threads end and its memory is freed.
    """

    entry: Entry
    report: Report  # on the file's bytes
    card: ModelCard
    provider: Literal["cpu", "cuda"]
    check: SelfCheck
    batcher: Batcher
    load_seconds: float
    costs: CostGrid | None  # None: not measured

    @property
    def sha256(self) -> str:
        """The hash of the file's bytes."""
        return self.report.sha256


class Loader:
    """Load files for one device, in threads."""

    def __init__(self, options: EngineOptions, observers: ObserverFactory) -> None:
        self._options = options
        self._observers = observers
        self._threads = Threads("loading", LOADS)
        self._batchers: WeakSet[Batcher] = WeakSet()
        self.device: Device | None = None

    def choose_device(self) -> None:
        """Choose the device that models run on; raise ModelRejected."""
        self.device = choose_device(self._options.provider)
        log.info("provider: %s (%s)", self.device.provider, self.device.reason)

    async def load(self, entry: Entry) -> LoadedModel:
        """Return a version ready to answer; raise ModelRejected."""
        started = time.perf_counter()
        report, runner, found = await self._threads.run(_open, entry, self.device, self._options)
        self._admit_fallback(runner)
        costs = await self._threads.run(_measured, runner, report.sha256, self._options)
        batcher = Batcher(
            runner,
            self._options.policy,
            slots=self._options.slots if runner.provider == "cpu" else Slots(),
            costs=costs,
            observer=self._observers(entry.name, entry.version),
        )
        self._batchers.add(batcher)
        seconds = time.perf_counter() - started
        log.info(
            "loaded %s version %d on %s in %.2f s; batched differs from alone by %.1e",
            entry.name,
            entry.version,
            runner.provider,
            seconds,
            found.largest_difference,
        )
        return LoadedModel(
            entry, report, runner.card, runner.provider, found, batcher, seconds, costs
        )

    async def close(self) -> None:
        """Finish what every version has accepted, also those that no longer serve."""
        await asyncio.gather(*(batcher.close() for batcher in list(self._batchers)))
        self._threads.close()

    def _admit_fallback(self, runner: OnnxRunner) -> None:
        """Log once that ONNX Runtime runs on the CPU though CUDA is present."""
        if self.device and self.device.provider != runner.provider:
            self.device = Device(runner.provider, "CUDA is present, but ONNX Runtime cannot use it")
            log.warning("provider: %s (%s)", self.device.provider, self.device.reason)


def _measured(runner: OnnxRunner, sha256: str, options: EngineOptions) -> CostGrid | None:
    if not options.profile_seconds:
        return None
    policy = options.policy

    def make() -> CostGrid:
        return measure(runner, runner.card, options.profile_seconds, policy=policy)

    if options.cache is None:
        return make()
    bounds = f"{sizes_up_to(policy.max_batch_size)[-1]} x {policy.max_batch_steps}"
    cache = CostCache(options.cache, f"{RUNTIME} {runner.provider} {bounds}")
    return cache.get(sha256, make)


def _open(
    entry: Entry, device: Device | None, options: EngineOptions
) -> tuple[Report, OnnxRunner, SelfCheck]:
    """Vet a file and load the bytes that passed; on the CPU the self-check is not repeated."""
    vetted = vet(entry.path, entry.name, options.limits, options.cache)
    runner = OnnxRunner(vetted.content, device or choose_device("auto"))
    found = vetted.report.self_check if runner.provider == "cpu" else None
    return vetted.report, runner, found or check(runner, runner.card, runner.provider)
