"""The models in memory, and which version answers under which name: no files, no tasks."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from models.repository import Stamp
from models.serving import Serving
from service.engine.errors import EngineError, ModelNotFound, ModelUnavailable, ModelWithdrawn
from service.engine.loading import LoadedModel
from service.engine.shadow import Mirror, ShadowObserver
from service.engine.traffic import Split
from service.engine.vetting.report import Report

Key: TypeAlias = tuple[str, int]  # name and version
Which: TypeAlias = int | str | None  # a version, an alias, or None: as the traffic is divided
MAIN = ""  # an alias every model has, of the version with the largest share of the traffic
State: TypeAlias = Literal["READY", "LOADING", "UNAVAILABLE"]


class Failure(NamedTuple):
    """Why a version could not be loaded, and the stamp of its file."""

    stamp: Stamp | None
    reason: str
    report: Report | None = None  # None: it did not fail in its checks


@dataclass(frozen=True, slots=True)
class VersionState:
    """The state of a version; ``reason`` says why it is not ready."""

    name: str
    version: int
    state: State
    reason: str


@dataclass(slots=True)
class Shelf:
    """One model: the state it should be in (``serving``), and what of it is in force."""

    serving: Serving = field(default_factory=Serving)
    problems: list[str] = field(default_factory=list)  # what of ``serving`` is not in force
    traffic: Split[LoadedModel] | None = None  # None: nobody serves
    aliases: dict[str, LoadedModel] = field(default_factory=dict)
    shadow: LoadedModel | None = None
    loaded: list[LoadedModel] = field(default_factory=list)

    @property
    def main(self) -> LoadedModel | None:
        """The version with the largest share of the traffic."""
        return self.traffic.main if self.traffic else None

    @property
    def silenced(self) -> bool:
        """Whether no version serves because an operator has unloaded it."""
        return not self.traffic and bool(self.serving.offline or self.serving.withdrawn)

    @property
    def wanted(self) -> set[int]:
        """The versions that the traffic, an alias, the shadow or a load keeps in memory."""
        found = {model.entry.version for model in (*self.aliases.values(), *self.loaded)}
        if self.traffic:
            found |= {model.entry.version for model, _ in self.traffic.choices}
        return found | ({self.shadow.entry.version} if self.shadow else set())


class Catalogue:
    """
    The models in memory, by name and version, and the names they answer under.

    Requests read ``answering`` and ``splits`` only; both are derived from the shelves.
    """

    def __init__(self, shadows: ShadowObserver | None = None) -> None:
        self._shadows = shadows
        self.mirrors: dict[str, Mirror] = {}
        self.shelves: dict[str, Shelf] = {}
        self.versions: dict[str, list[int]] = {}  # in the repository, as last seen
        self.loading: set[Key] = set()
        self.memory: dict[Key, LoadedModel] = {}
        self.stamps: dict[Key, Stamp | None] = {}  # of the files in memory
        self.failures: dict[Key, Failure] = {}
        self.answering: dict[tuple[str, Which], LoadedModel] = {}
        self.splits: dict[str, Split[LoadedModel]] = {}
        self.named: set[Key] = set()  # versions asked for by number since the last tidying
        self._named_at: dict[Key, float] = {}

    def names(self) -> list[str]:
        """List the models that serve, were unloaded, or failed to load."""
        on_shelves = (name for name, shelf in self.shelves.items() if shelf.traffic)
        withdrawn = (name for name, shelf in self.shelves.items() if shelf.silenced)
        return sorted({*on_shelves, *withdrawn, *(name for name, _ in self.failures)})

    def note_versions(self, name: str, versions: Iterable[int]) -> None:
        """Note which versions of a model there are in the repository, oldest first."""
        self.versions[name] = [*versions]
        if not self.versions[name]:
            del self.versions[name]

    def index(self, name: str) -> list[VersionState]:
        """Return the state of each version of a model, oldest first."""
        in_memory = {version for model, version in self.memory if model == name}
        versions = sorted(in_memory | {*self.versions.get(name, [])})
        return [self.state(name, version) for version in versions]

    def loaded(self, name: str) -> list[LoadedModel]:
        """List the versions of a model that are in memory, oldest first."""
        return [model for (key, _), model in sorted(self.memory.items(), key=_key) if key == name]

    def keep(self, model: LoadedModel, stamp: Stamp | None) -> None:
        """Keep a loaded version, in place of one of the same number."""
        key = model.entry.name, model.entry.version
        self.memory[key] = model
        self.stamps[key] = stamp
        self.failures.pop(key, None)
        if not self.withdrawn(*key):
            self.answering[key] = model

    def forget_failures(self, name: str, but: Collection[int]) -> None:
        """Forget the failures of versions that are no longer in the repository."""
        for key in [key for key in self.failures if key[0] == name and key[1] not in but]:
            del self.failures[key]

    def withdrawn(self, name: str, version: int) -> bool:
        """Say whether a version must answer nobody."""
        return self.shelf(name).serving.withdraws(version)

    def arrange(self, name: str, shelf: Shelf, now: float, idle_seconds: float) -> None:
        """Put a shelf in force, all of it at once, and drop versions that it does not keep."""
        self.shelves[name] = shelf
        self._note_named(now)
        wanted = shelf.wanted
        for key in [key for key in self.memory if key[0] == name]:
            recently = now - self._named_at.get(key, float("-inf")) < idle_seconds
            withdrawn = shelf.serving.withdraws(key[1])
            if withdrawn or (key[1] not in wanted and not recently):
                del self.memory[key], self.stamps[key]
                self._named_at.pop(key, None)
        for old in [old for old in self.answering if old[0] == name]:
            del self.answering[old]
        self.splits.pop(name, None)
        self._cast_shadow(name, shelf)
        self.answering.update(self._answers(name, shelf))
        if shelf.traffic and len(shelf.traffic.choices) > 1:
            self.splits[name] = shelf.traffic

    def tidy(self, now: float, idle_seconds: float) -> None:
        """Drop versions that no shelf keeps and no request has named for ``idle_seconds``."""
        self._note_named(now)
        for name, shelf in list(self.shelves.items()):
            versions = {version for model, version in self.memory if model == name}
            if versions - shelf.wanted:
                self.arrange(name, shelf, now, idle_seconds)

    def state(self, name: str, version: int) -> VersionState:
        """Return the state of a version."""
        key = name, version
        if key in self.loading:
            return VersionState(name, version, "LOADING", "")
        if self.withdrawn(name, version):
            return VersionState(name, version, "UNAVAILABLE", "withdrawn")
        if key in self.memory:
            return VersionState(name, version, "READY", "")
        failure = self.failures.get(key)
        why = failure.reason if failure else "not in memory; loaded when it is asked for"
        return VersionState(name, version, "UNAVAILABLE", why)

    def shelf(self, name: str) -> Shelf:
        """Return the shelf of a model; an empty one if it is unknown."""
        return self.shelves.get(name) or Shelf()

    def absent(self, name: str, version: Which) -> EngineError:
        """Return the error of a request for a model, or alias, that no version answers."""
        shelf = self.shelf(name)
        failures = {each: why for (model, each), why in self.failures.items() if model == name}
        if shelf.serving.offline:
            return ModelWithdrawn(name)
        if version:
            due = shelf.serving.aliases.get(str(version))
            if due in failures:
                return ModelUnavailable(name, due, failures[due].reason)
            return ModelNotFound(name, version)
        if failures:
            return ModelUnavailable(name, max(failures), failures[max(failures)].reason)
        return ModelWithdrawn(name) if shelf.serving.withdrawn else ModelNotFound(name)

    def _cast_shadow(self, name: str, shelf: Shelf) -> None:
        """Start or end the shadow; one that did not change goes on, with what it has found."""
        model, present = shelf.shadow, self.mirrors.get(name)
        share = shelf.serving.shadow.share if shelf.serving.shadow else 0.0
        if model is None:
            self.mirrors.pop(name, None)
        elif present is None or present.model is not model or present.share != share:
            self.mirrors[name] = Mirror(model, share, self._shadows)

    def _note_named(self, now: float) -> None:
        self._named_at |= {key: now for key in self.named if key in self.memory}
        self.named.clear()

    def _answers(self, name: str, shelf: Shelf) -> Iterator[tuple[tuple[str, Which], LoadedModel]]:
        for (model, version), loaded in self.memory.items():
            if model == name:
                yield (name, version), loaded
        for alias, loaded in shelf.aliases.items():
            yield (name, alias), loaded
        if shelf.main:
            yield (name, MAIN), shelf.main
            yield (name, None), shelf.main


def _key(item: tuple[Key, LoadedModel]) -> Key:
    return item[0]
