"""The engine: models by name and version, loaded, checked, and asked."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Self

from models.repository import Repository
from models.serving import Serving, ServingUnfit
from service.engine.admission import check_rows
from service.engine.catalogue import Catalogue, Shelf, VersionState, Which
from service.engine.errors import (
    EngineStopped,
    ModelNotFound,
    ModelUnavailable,
    NonFinitePrediction,
)
from service.engine.jobs import Answer, Row, Ticket, Timing
from service.engine.lifecycle import Change, Lifecycle
from service.engine.loading import LoadedModel, Loader, ObserverFactory
from service.engine.options import EngineOptions
from service.engine.runner import Device
from service.engine.shadow import Mirror, ShadowObserver
from service.engine.vetting.report import Report
from service.engine.watcher import Watcher
from service.repeated import Repeated

__all__ = ["Engine", "EngineOptions", "LoadedModel", "VersionState", "insist_on_finite"]


class Engine:
    """
    Predict with any version of any model in a repository.

    Use it as an async context manager: entering loads what each model's state asks for, or the
    newest version that passes its self-check; leaving finishes what was accepted.  While it runs
    it takes up what is published, and what of the states is changed.  Versions that nothing asks
    for load when a request names them.
    """

    def __init__(
        self,
        repository: Repository,
        options: EngineOptions | None = None,
        observers: ObserverFactory = lambda _name, _version: None,
        shadows: ShadowObserver | None = None,
    ) -> None:
        self._repository = repository
        self.options = options or EngineOptions()
        self._loader = Loader(self.options, observers)
        self._catalogue = Catalogue(shadows)
        self._lifecycle = Lifecycle(
            repository, self._loader, self._catalogue, self.options.idle_seconds
        )
        self._watcher = Watcher(repository, self._lifecycle)
        self._running = self._leaving = False

    async def __aenter__(self) -> Self:
        self._loader.choose_device()
        async with AsyncExitStack() as stack:
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
        """Whether all that shall serve would answer now, and there is something, or was."""
        catalogue = self._catalogue
        serving = [model.batcher.ready for model in catalogue.memory.values()]
        withdrawn = any(shelf.silenced for shelf in catalogue.shelves.values())
        there = self._running and not self._leaving
        return there and (bool(serving) or withdrawn) and all(serving)

    def leave(self) -> None:
        """Be not ready from now on, and answer as before: the end is near."""
        self._leaving = True

    def names(self) -> list[str]:
        """List the models that serve, and those that were unloaded or failed to load."""
        return self._catalogue.names()

    def versions(self, name: str) -> list[int]:
        """List a model's versions in the repository as this process last saw it, oldest first."""
        return self._catalogue.versions.get(name, [])

    def index(self, name: str) -> list[VersionState]:
        """Say where each version of a model stands in this process, oldest first."""
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
        """Return the version that answers most of who names none, if one serves."""
        return self._catalogue.answering.get((name, None))

    def serving(
        self, name: str, version: Which = None, key: str | None = None
    ) -> LoadedModel | None:
        """
        Return a version, that of an alias, or whose turn it is, if it is in memory.

        Where the traffic is divided, one ``key`` always gets the same version.
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

    async def load(
        self, name: str, version: int | None = None, expected: str | None = None
    ) -> None:
        """
        Let a version answer, or a model as it did before it was unloaded, and keep that so.

        Other processes follow by themselves; this one has it when this returns.  What failed
        before is tried again.  A version that fails changes nothing.
        Raises ModelNotFound, ModelUnavailable, and what ``change`` does.
        """
        if version is not None:
            await self._lifecycle.try_again(name, version)
        await self.change(name, lambda serving: serving.with_loaded(version), expected, retry=True)
        serving, failures = self.desired(name), self.failures(name)
        if version is None and not serving.traffic:
            newest = max(
                (each for each in self.versions(name) if not serving.withdraws(each)), default=0
            )
            if newest in failures:
                raise ModelUnavailable(name, newest, failures[newest])

    async def unload(
        self, name: str, version: int | None = None, expected: str | None = None
    ) -> None:
        """
        Let a version, or the whole model, answer nobody, and keep that so; see ``load``.

        Requests on their way are answered still.  Raises ModelNotFound, and what ``change`` does.
        """
        if version is not None and version not in await self._published(name):
            raise ModelNotFound(name, version)
        await self.change(name, lambda serving: serving.with_unloaded(version), expected)

    async def roll_back(
        self, name: str, version: int | None = None, expected: str | None = None
    ) -> None:
        """
        Send all traffic to a version, or to the one before that which serves, and keep that so.

        Raises ServingUnfit where there is none before, and what ``change`` does.
        """
        if version is None:
            versions = await self._published(name)
            main, state = self.newest(name), self.desired(name)
            older = [
                each
                for each in versions
                if main and each < main.entry.version and not state.withdraws(each)
            ]
            if not older:
                raise ServingUnfit(f"There is no version of {name!r} to go back to.")
            version = older[-1]
        traffic = {str(version): 1.0}
        await self.change(name, lambda serving: serving.with_(traffic=traffic), expected)

    async def _published(self, name: str) -> list[int]:
        """List a model's versions as the repository has them now."""
        return [each.version for each in await asyncio.to_thread(self._repository.versions, name)]

    async def replace(self, name: str, serving: Serving, expected: str | None = None) -> None:
        """Give a model a state, whatever it was, also an unreadable one; raise as ``change``."""
        await self._lifecycle.replace(name, serving, expected)

    @property
    def watching(self) -> bool:
        """Whether what is published and changed is taken up by itself."""
        return self.options.watch_seconds > 0

    def shelf(self, name: str) -> Shelf:
        """Return what a model shall do and does in this process; not to be changed."""
        return self._catalogue.shelf(name)

    def mirror(self, name: str) -> Mirror | None:
        """Return what asks a model's shadow, if it has one in force."""
        return self._catalogue.mirrors.get(name)

    def desired(self, name: str) -> Serving:
        """Return the state that a model shall be in, as this process has last read it."""
        return self._catalogue.shelf(name).serving

    def problems(self, name: str) -> list[str]:
        """Say what of the state asked for is not in force in this process, and why."""
        return self._catalogue.shelf(name).problems

    async def change(
        self, name: str, change: Change, expected: str | None = None, *, retry: bool = False
    ) -> None:
        """
        Change the state that a model shall be in; ``expected`` is the tag of the present one.

        Raises ModelNotFound, ModelUnavailable if what is asked for anew does not load,
        ServingUnfit, ServingChanged, ServingUnreadable and ServingNotKept(Now).
        """
        await self._lifecycle.change(name, change, expected, retry=retry)

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
        if not background and (mirror := self.mirror(model.entry.name)):
            mirror.offer(model, rows, answers)
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
        mirrors = self._catalogue.mirrors
        if mirrors and (mirror := mirrors.get(model.entry.name)):
            tell = mirror.after(model, rows, tell)
        return model.batcher.submit(rows, tell)


def insist_on_finite(answers: Sequence[Answer]) -> None:
    """Raise NonFinitePrediction for the first answer that is infinite or not a number."""
    for index, answer in enumerate(answers):
        if not answer.finite:
            raise NonFinitePrediction(index)
