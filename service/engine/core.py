"""The engine: load, check and run models by name and version."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Self

from models.repository import Repository
from service.engine.admission import check_rows
from service.engine.catalogue import Catalogue, Shelf, VersionState, Which
from service.engine.changes import Changes
from service.engine.errors import (
    EngineStopped,
    NonFinitePrediction,
)
from service.engine.jobs import Answer, Row, Ticket, Timing
from service.engine.lifecycle import Lifecycle
from service.engine.loading import LoadedModel, Loader, ObserverFactory
from service.engine.options import EngineOptions
from service.engine.runner import Device
from service.engine.shadow import Mirror, ShadowObserver
from service.engine.vetting.report import Report
from service.engine.watcher import Watcher
from service.repeated import Repeated
from service.threads import Threads

__all__ = ["Engine", "EngineOptions", "LoadedModel", "VersionState", "insist_on_finite"]

LOOKS = 4  # threads that read the repository


class Engine:
    """
    Predict with any version of any model in a repository.

    Use it as an async context manager: entering loads what each model's state asks for, or the
    newest version that passes its self-check; leaving finishes what was accepted.  While it runs
    it takes up what is published, and what of the states is changed, by others or by ``changes``.
    Versions that nothing asks for load when a request names them.
    """

    def __init__(
        self,
        repository: Repository,
        options: EngineOptions | None = None,
        observers: ObserverFactory = lambda _name, _version: None,
        shadows: ShadowObserver | None = None,
    ) -> None:
        self.options = options or EngineOptions()
        self._loader = Loader(self.options, observers)
        self._catalogue = Catalogue(shadows)
        self._disk = Threads("repository", LOOKS)
        self._lifecycle = Lifecycle(
            repository, self._loader, self._catalogue, self.options.idle_seconds, self._disk
        )
        self.changes = Changes(repository, self._lifecycle, self._catalogue, self._disk)
        self._watcher = Watcher(repository, self._lifecycle, self._disk)
        self._running = self._leaving = False

    async def __aenter__(self) -> Self:
        self._loader.choose_device()
        async with AsyncExitStack() as stack:
            stack.callback(self._disk.close)
            stack.push_async_callback(self._loader.close)
            stack.push_async_callback(self._watcher.close)
            await self._watcher.look()
            await self._watcher.settle()
            if self.watching:
                await stack.enter_async_context(self._watching())
            self._stack = stack.pop_all()
        self._running = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running = False
        await self._stack.aclose()

    def _watching(self) -> Repeated:
        seconds, away = self.options.watch_seconds, (OSError,)  # a file system, for a while
        return Repeated("watcher", self._watcher.look, seconds, foreseen=away)

    @property
    def device(self) -> Device | None:
        """Where models run; None before the engine was entered."""
        return self._loader.device

    @property
    def ready(self) -> bool:
        """Whether all versions in memory would answer; if there are none, whether by an unload."""
        catalogue = self._catalogue
        serving = [model.batcher.ready for model in catalogue.memory.values()]
        withdrawn = any(shelf.silenced for shelf in catalogue.shelves.values())
        there = self._running and not self._leaving
        return there and (bool(serving) or withdrawn) and all(serving)

    def leave(self) -> None:
        """Report not ready from now on, but go on answering: the process is about to stop."""
        self._leaving = True

    def names(self) -> list[str]:
        """List the models that serve, and those that were unloaded or failed to load."""
        return self._catalogue.names()

    def versions(self, name: str) -> list[int]:
        """List a model's versions in the repository as this process last saw it, oldest first."""
        return self._catalogue.versions.get(name, [])

    def index(self, name: str) -> list[VersionState]:
        """Return the state of each version of a model in this process, oldest first."""
        return self._catalogue.index(name)

    def failures(self, name: str) -> dict[int, str]:
        """Say which versions of a model could not be loaded, and why."""
        failures = self._catalogue.failures.items()
        return {version: found.reason for (model, version), found in failures if model == name}

    def refused(self, name: str) -> dict[int, Report]:
        """Return what was found of the versions that did not pass their checks."""
        failures = self._catalogue.failures.items()
        return {
            version: found.report
            for (model, version), found in failures
            if model == name and found.report
        }

    def loaded(self, name: str) -> list[LoadedModel]:
        """List the versions of a model that are in memory."""
        return self._catalogue.loaded(name)

    def newest(self, name: str) -> LoadedModel | None:
        """Return the version with the largest share of the traffic, if one serves."""
        return self._catalogue.answering.get((name, None))

    def serving(
        self, name: str, version: Which = None, key: str | None = None
    ) -> LoadedModel | None:
        """
        Return a version by number, by alias, or as the traffic is divided, if it is in memory.

        Where the traffic is divided, a ``key`` always gets the same version.
        """
        if not self._running:
            return None
        catalogue = self._catalogue
        if version is None and name in catalogue.splits:
            return catalogue.splits[name].choose(key)
        found = catalogue.answering.get((name, version))
        if found is not None and isinstance(version, int):
            catalogue.named.add((name, version))
        return found

    async def model(self, name: str, version: Which = None, key: str | None = None) -> LoadedModel:
        """
        Return what ``serving`` does, loading a version that is not in memory.

        Raises ModelNotFound, ModelWithdrawn, ModelUnavailable or EngineStopped.
        """
        if not self._running:
            raise EngineStopped
        found = self.serving(name, version, key)
        if found is not None:
            return found
        if isinstance(version, int):
            return await self._lifecycle.demand(name, version)
        raise self._catalogue.absent(name, version)

    @property
    def watching(self) -> bool:
        """Whether what is published and changed is taken up by itself."""
        return self.options.watch_seconds > 0

    def shelf(self, name: str) -> Shelf:
        """Return the state a model should be in, and what is in force; not to be changed."""
        return self._catalogue.shelf(name)

    def mirror(self, name: str) -> Mirror | None:
        """Return what sends requests to a model's shadow, if it has one in force."""
        return self._catalogue.mirrors.get(name)

    async def predict(
        self, model: LoadedModel, rows: Sequence[Row], *, background: bool = False
    ) -> tuple[list[Answer], Timing]:
        """
        Answer rows in order, each as if it were alone; cancel to withdraw.

        ``background`` requests run only if no others wait, and share no batch with them.

        Raises InvalidSequence, Overloaded, InferenceFailed, NonFinitePrediction, EngineStopped.
        """
        check_rows(rows, model.card)
        answers, timing = await model.batcher.predict(rows, background=background)
        insist_on_finite(answers)
        if not background and (mirror := self.mirror(model.entry.name)):
            mirror.offer(model, rows, answers)
        return answers, timing

    def submit(
        self, model: LoadedModel, rows: Sequence[Row], tell: Callable[[Ticket], None]
    ) -> Ticket:
        """
        Do what ``predict`` does for a caller that has no task.

        ``tell`` is called with the ticket when it is done: its ``result`` returns the answers or
        raises InferenceFailed.  The caller calls ``insist_on_finite``, and in every case
        ``model.batcher.release``.
        Raises InvalidSequence, Overloaded, EngineStopped.
        """
        check_rows(rows, model.card)
        mirrors = self._catalogue.mirrors
        if mirrors and (mirror := mirrors.get(model.entry.name)):
            tell = mirror.after(model, rows, tell)
        return model.batcher.submit(rows, tell)


def insist_on_finite(answers: Sequence[Answer]) -> None:
    """Raise NonFinitePrediction for the first answer that is infinite or not a number."""
    for index, answer in enumerate(answers):
        if not answer.finite:
            raise NonFinitePrediction(index)
