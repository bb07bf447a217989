"""Load and drop versions until what is in memory is what should serve; new before old."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TypeAlias

from models.repository import Entry, Repository, Stamp
from models.serving import Serving, ServingUnreadable
from service.engine.catalogue import Catalogue, Failure, Key, Shelf
from service.engine.errors import (
    ModelNotFound,
    ModelRejected,
    ModelUnavailable,
    ModelWithdrawn,
)
from service.engine.loading import LoadedModel, Loader
from service.engine.shadow import unlike
from service.engine.traffic import Split
from service.engine.vetting.verdict import ModelRefused
from service.threads import Threads

log = logging.getLogger(__name__)

_Load: TypeAlias = Callable[[int, str], Awaitable[LoadedModel | None]]
_Shares: TypeAlias = list[tuple[LoadedModel, float]]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the repository holds of a model."""

    entries: dict[int, Entry]  # oldest first
    stamps: dict[int | str, Stamp]
    serving: Serving | None  # None: unreadable
    problem: str = ""


class Lifecycle:
    """
    Loads the versions that the repository's states ask for, and drops the others.

    A version that fails to load changes nothing: what serves goes on until another version can
    replace it.  A failure is remembered until the file changes or an operator tries again.
    """

    def __init__(
        self,
        repository: Repository,
        loader: Loader,
        catalogue: Catalogue,
        idle_seconds: float,
        disk: Threads,
    ) -> None:
        self._repository = repository
        self._loader = loader
        self._catalogue = catalogue
        self._idle_seconds = idle_seconds
        self._disk = disk
        self._turns: dict[str, asyncio.Lock] = {}  # by name: one convergence at a time
        self._loads: dict[Key, asyncio.Lock] = {}  # by version: one load at a time

    async def converge(self, name: str, *, retry: bool = False) -> None:
        """Bring a model to the state that the repository says, as far as its files load."""
        async with self._turns.setdefault(name, asyncio.Lock()):
            seen = await self._disk.run(self._look, name)
            self._catalogue.note_versions(name, seen.entries)
            shelf = await self._fill(name, seen, retry=retry)
            self._catalogue.arrange(name, shelf, time.monotonic(), self._idle_seconds)
            for problem in shelf.problems:
                log.warning("%s: %s", name, problem)

    async def demand(self, name: str, version: int) -> LoadedModel:
        """Return a version, loaded if it was not; raise ModelNotFound or ModelUnavailable."""
        key = name, version
        if self._catalogue.withdrawn(*key):
            raise ModelWithdrawn(name, version)
        seen = await self._disk.run(self._look, name)
        if version not in seen.entries and key not in self._catalogue.memory:
            raise ModelNotFound(name, version)
        if failure := self._catalogue.failures.get(key):
            raise ModelUnavailable(name, version, failure.reason)
        model = await self._loaded(seen, name, version, retry=False)
        self._catalogue.named.add(key)
        if self._catalogue.withdrawn(*key):  # while it was loaded
            await self.converge(name)
            raise ModelWithdrawn(name, version)
        if model is None:
            raise ModelUnavailable(name, version, self._catalogue.failures[key].reason)
        return model

    async def try_again(self, name: str, version: int) -> None:
        """Load a version even if it failed before; raise as ``demand``."""
        seen = await self._disk.run(self._look, name)
        if version not in seen.entries:
            raise ModelNotFound(name, version)
        await self._loaded(seen, name, version, retry=True)
        self._catalogue.named.add((name, version))  # keeps it until its use is in force
        if failure := self._catalogue.failures.get((name, version)):
            raise ModelUnavailable(name, version, failure.reason)

    def tidy(self) -> None:
        """Drop versions that nothing keeps and no request has named lately."""
        self._catalogue.tidy(time.monotonic(), self._idle_seconds)

    def _look(self, name: str) -> _Seen:
        entries = {entry.version: entry for entry in self._repository.versions(name)}
        stamps = self._repository.stamps(name)
        if not stamps:  # also of what is no name at all
            return _Seen({}, {}, None)
        try:
            return _Seen(entries, stamps, self._repository.states.read(name))
        except ServingUnreadable as exc:
            return _Seen(entries, stamps, None, str(exc))

    async def _fill(self, name: str, seen: _Seen, *, retry: bool) -> Shelf:
        """Load what the state asks for; where that fails, what was in force stays."""
        before = self._catalogue.shelf(name)
        serving = before.serving if seen.serving is None else seen.serving
        self._catalogue.forget_failures(name, but=seen.entries.keys())
        shelf = Shelf(serving, [seen.problem] if seen.problem else [])
        if serving.offline:
            return shelf

        async def load(version: int, use: str) -> LoadedModel | None:
            model = await self._loaded(seen, name, version, retry=retry)
            failure = self._catalogue.failures.get((name, version))
            if failure or model is None:
                why = failure.reason if failure else "there is no such version"
                shelf.problems.append(f"version {version} {use}, but: {why}")
            return model

        shares = (
            await _divided(serving, load)
            or await _newest(serving, seen.entries, load)
            or _left(serving, before)
        )
        shelf.traffic = Split(shares, name) if shares else None
        for alias, version in serving.aliases.items():
            if model := await load(version, f"is {alias!r}") or before.aliases.get(alias):
                shelf.aliases[alias] = model
        if serving.shadow:
            shelf.shadow = await load(serving.version(serving.shadow.version), "is the shadow")
            _check_shadow(shelf)
        loaded = [await load(version, "shall be loaded") for version in serving.loaded]
        shelf.loaded = [model for model in loaded if model]
        return shelf

    async def _loaded(
        self, seen: _Seen, name: str, version: int, *, retry: bool
    ) -> LoadedModel | None:
        """Return a version, loaded anew if its file has changed; the old one if that fails."""
        key = name, version
        async with self._loads.setdefault(key, asyncio.Lock()):
            catalogue, stamp = self._catalogue, seen.stamps.get(version)
            present = catalogue.memory.get(key)
            if version not in seen.entries or (present and catalogue.stamps[key] == stamp):
                return present
            failure = catalogue.failures.get(key)
            if failure and failure.stamp == stamp and not retry:
                return present
            catalogue.loading.add(key)
            try:
                catalogue.keep(await self._loader.load(seen.entries[version]), stamp)
            except (ModelRejected, OSError, MemoryError, RuntimeError) as exc:
                report = exc.report if isinstance(exc, ModelRefused) else None
                catalogue.failures[key] = Failure(stamp, str(exc), report)
                log.warning("%s", ModelUnavailable(name, version, str(exc)))
            finally:
                catalogue.loading.discard(key)
            return catalogue.memory.get(key)


async def _divided(serving: Serving, load: _Load) -> _Shares:
    """Return the versions that share the traffic, and their weights, as far as they load."""
    found = [
        (await load(version, "has a share of the traffic"), weight)
        for version, weight in serving.weights().items()
    ]
    return [(model, weight) for model, weight in found if model]


async def _newest(serving: Serving, versions: Collection[int], load: _Load) -> _Shares:
    """Return the newest version that loads, with all the traffic."""
    for version in sorted(versions, reverse=True):
        if not serving.withdraws(version) and (model := await load(version, "is the newest")):
            return [(model, 1.0)]
    return []


def _left(serving: Serving, before: Shelf) -> _Shares:
    """Return what has served so far and is not withdrawn."""
    present = before.traffic.choices if before.traffic else []
    return [each for each in present if not serving.withdraws(each[0].entry.version)]


def _check_shadow(shelf: Shelf) -> None:
    """Drop a shadow whose answers cannot be compared with those of the main version."""
    if shelf.shadow and shelf.main:
        fields = unlike(shelf.shadow.card, shelf.main.card)
        if fields:
            version, shelf.shadow = shelf.shadow.entry.version, None
            shelf.problems.append(
                f"version {version} is the shadow, but its card differs: {fields}"
            )
