"""The engine: models by name and version, loaded, checked, and asked."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from models.contract import ModelCard
from models.repository import Entry, ModelNotInRepository, Repository
from service.engine.admission import check_rows
from service.engine.batcher import Batcher, Slots
from service.engine.costs import CostGrid
from service.engine.cpus import available_cpus
from service.engine.errors import (
    EngineStopped,
    ModelNotFound,
    ModelRejected,
    ModelUnavailable,
    NonFinitePrediction,
)
from service.engine.jobs import Answer, Row, Ticket, Timing
from service.engine.observer import Observer
from service.engine.runner import RUNTIME, Device, OnnxRunner, Provider, choose_device
from service.engine.scheduler import BatchPolicy
from service.engine.selfcheck import SelfCheck, check
from service.engine.tuning import CostCache, measure, sizes_up_to

log = logging.getLogger(__name__)

ObserverFactory = Callable[[str, int], Observer | None]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine runs; the defaults suit a container that has the machine to itself."""

    provider: Provider = "auto"
    threads: int | None = None  # runner threads a model; None: the processors allowed
    workers: int = 1  # processes like this one on the same processors
    policy: BatchPolicy = field(default_factory=BatchPolicy)
    inline_seconds: float = 0.010  # a batch as short as that needs no thread of its own
    profile_seconds: float = 0.0  # to measure a model's costs at load; 0: steps are all that costs
    cache: Path | None = None  # where measured costs are kept

    @property
    def slots(self) -> Slots:
        """Where batches run on CPU: our share of the processors, and the others for bulk."""
        if self.threads:
            return Slots(self.threads, 0, self.inline_seconds)
        available = available_cpus()
        share = max(1, available // self.workers)
        return Slots(share, max(0, available - share), self.inline_seconds)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version that serves, and what its self-check found."""

    entry: Entry
    sha256: str  # of the file
    card: ModelCard
    provider: Literal["cpu", "cuda"]
    check: SelfCheck
    batcher: Batcher
    load_seconds: float
    costs: CostGrid | None  # None: not measured


class Engine:
    """
    Predict with any version of any model in a repository.

    Use it as an async context manager: entering loads the newest version of every model that
    passes its self-check, leaving finishes what was accepted.  Older versions load when asked.
    """

    def __init__(
        self,
        repository: Repository,
        options: EngineOptions | None = None,
        observers: ObserverFactory = lambda _name, _version: None,
    ) -> None:
        self._repository = repository
        self.options = options or EngineOptions()
        self._observers = observers
        self._models: dict[tuple[str, int], LoadedModel] = {}
        self._newest: dict[str, int] = {}
        self._failures: dict[tuple[str, int], str] = {}
        self._loading: dict[tuple[str, int], asyncio.Lock] = {}
        self._running = False
        self.device: Device | None = None

    async def __aenter__(self) -> Self:
        self.device = choose_device(self.options.provider)
        log.info("provider: %s (%s)", self.device.provider, self.device.reason)
        for name in self._repository.names():
            await self._load_newest(name)
        self._running = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running = False
        await asyncio.gather(*(model.batcher.close() for model in self._models.values()))

    @property
    def ready(self) -> bool:
        """Whether every model that was loaded would answer now, and there is one."""
        serving = [model.batcher.ready for model in self._models.values()]
        return self._running and bool(serving) and all(serving)

    def names(self) -> list[str]:
        """List the models that serve, and those that failed to load."""
        return sorted({*self._newest, *(name for name, _ in self._failures)})

    def versions(self, name: str) -> list[Entry]:
        """List a model's versions in the repository, oldest first."""
        return self._repository.versions(name)

    def failures(self, name: str) -> dict[int, str]:
        """Say which versions of a model could not be loaded, and why."""
        return {version: why for (model, version), why in self._failures.items() if model == name}

    def loaded(self, name: str) -> list[LoadedModel]:
        """List the versions of a model that are in memory."""
        return [model for (key, _), model in sorted(self._models.items()) if key == name]

    def newest(self, name: str) -> LoadedModel | None:
        """Return the version that answers when none is named, if one serves."""
        version = self._newest.get(name)
        return None if version is None else self._models[name, version]

    def serving(self, name: str, version: int | None = None) -> LoadedModel | None:
        """Return a version, or the newest, if it is in memory and the engine runs."""
        if version is None:
            version = self._newest.get(name)
        if version is None or not self._running:
            return None
        return self._models.get((name, version))

    async def model(self, name: str, version: int | None = None) -> LoadedModel:
        """
        Return a version, loading an older one if it must; None is the newest that serves.

        Raises ModelNotFound, ModelUnavailable or EngineStopped.
        """
        if not self._running:
            raise EngineStopped
        if version is None:
            version = self._newest.get(name)
        if version is None:
            failures = self.failures(name)
            if not failures:
                raise ModelNotFound(name)
            newest = max(failures)
            raise ModelUnavailable(name, newest, failures[newest])
        return self._models.get((name, version)) or await self._load_once(name, version)

    async def predict(
        self, model: LoadedModel, rows: Sequence[Row], *, background: bool = False
    ) -> tuple[list[Answer], Timing]:
        """
        Answer rows in order, each as if it were alone; cancel to leave.

        What is background lets all others pass, and shares no batch with them.

        Raises InvalidSequence, Overloaded, InferenceFailed, NonFinitePrediction, EngineStopped.
        """
        check_rows(rows, model.card)
        answers, timing = await model.batcher.predict(rows, background=background)
        insist_on_finite(answers)
        return answers, timing

    def submit(
        self, model: LoadedModel, rows: Sequence[Row], tell: Callable[[Ticket], None]
    ) -> Ticket:
        """
        Begin what ``predict`` does, for a caller with no task of its own.

        ``tell`` gets the ticket when it is over: ``result`` has the answers or raises
        InferenceFailed, ``insist_on_finite`` is left to the caller, and so is
        ``model.batcher.release`` in every case.
        Raises InvalidSequence, Overloaded, EngineStopped.
        """
        check_rows(rows, model.card)
        return model.batcher.submit(rows, tell)

    async def _load_newest(self, name: str) -> None:
        for entry in reversed(self._repository.versions(name)):
            try:
                await self._load_once(name, entry.version)
            except ModelUnavailable as exc:
                log.warning("%s", exc)
            else:
                self._newest[name] = entry.version
                return

    async def _load_once(self, name: str, version: int) -> LoadedModel:
        try:
            entry = self._repository.find(name, version)
        except ModelNotInRepository:
            raise ModelNotFound(name, version) from None
        key = name, version
        async with self._loading.setdefault(key, asyncio.Lock()):
            if key in self._failures:
                raise ModelUnavailable(name, version, self._failures[key])
            if key not in self._models:
                try:
                    self._models[key] = await self._load(entry)
                except ModelRejected as exc:
                    self._failures[key] = str(exc)
                    raise ModelUnavailable(name, version, str(exc)) from exc
        return self._models[key]

    async def _load(self, entry: Entry) -> LoadedModel:
        started = time.perf_counter()
        sha256, runner, found = await asyncio.to_thread(_open_checked, entry, self.device)
        self._admit_fallback(runner)
        costs = await asyncio.to_thread(_measured, runner, entry, self.options)
        batcher = Batcher(
            runner,
            self.options.policy,
            slots=self.options.slots if runner.provider == "cpu" else Slots(),
            costs=costs,
            observer=self._observers(entry.name, entry.version),
        )
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
            entry, sha256, runner.card, runner.provider, found, batcher, seconds, costs
        )

    def _admit_fallback(self, runner: OnnxRunner) -> None:
        """Say so, once, if CUDA is there and yet ONNX Runtime runs on the CPU."""
        if self.device and self.device.provider != runner.provider:
            self.device = Device(runner.provider, "CUDA is present, but ONNX Runtime cannot use it")
            log.warning("provider: %s (%s)", self.device.provider, self.device.reason)


def insist_on_finite(answers: Sequence[Answer]) -> None:
    """Raise NonFinitePrediction for the first answer that is infinite or not a number."""
    for index, answer in enumerate(answers):
        if not answer.finite:
            raise NonFinitePrediction(index)


def _measured(runner: OnnxRunner, entry: Entry, options: EngineOptions) -> CostGrid | None:
    if not options.profile_seconds:
        return None
    policy = options.policy

    def make() -> CostGrid:
        return measure(runner, runner.card, options.profile_seconds, policy=policy)

    if options.cache is None:
        return make()
    bounds = f"{sizes_up_to(policy.max_batch_size)[-1]} x {policy.max_batch_steps}"
    cache = CostCache(options.cache, f"{RUNTIME} {runner.provider} {bounds}")
    return cache.get(entry.path, make)


def _open_checked(entry: Entry, device: Device | None) -> tuple[str, OnnxRunner, SelfCheck]:
    with entry.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    runner = OnnxRunner(entry.path, device or choose_device("auto"))
    if runner.card.name != entry.name:
        raise ModelRejected(f"The card names {runner.card.name!r}, the folder {entry.name!r}.")
    return sha256, runner, check(runner, runner.card, runner.provider)
