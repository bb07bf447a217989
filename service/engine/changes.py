"""Change what should serve: load it first, then keep the new state, then put it in force."""

from collections.abc import Callable
from typing import TypeAlias

from models.repository import Repository
from models.serving import Serving, ServingUnfit
from service.engine.catalogue import Catalogue
from service.engine.errors import ModelNotFound, ModelUnavailable
from service.engine.lifecycle import Lifecycle
from service.threads import Threads

Change: TypeAlias = Callable[[Serving], Serving]


class Changes:
    """
    Operators' changes; ``expected`` is the tag of the state that a change was made for.

    A version that does not load changes nothing.  When a call returns, the new state is in force
    in this process; other processes follow by themselves.
    """

    def __init__(
        self, repository: Repository, lifecycle: Lifecycle, catalogue: Catalogue, disk: Threads
    ) -> None:
        self._repository = repository
        self._lifecycle = lifecycle
        self._catalogue = catalogue
        self._disk = disk

    async def make(
        self, name: str, change: Change, expected: str | None = None, *, retry: bool = False
    ) -> None:
        """
        Change the state a model should be in.

        Raises ModelNotFound, ModelUnavailable for a version that is newly used and does not load,
        ServingUnfit, ServingChanged, ServingUnreadable and ServingNotKept(Now).
        """
        states = self._repository.states
        await self._check_known(name)
        before = await self._disk.run(states.read, name)
        await self._prepare(name, before, change(before))
        await self._disk.run(states.change, name, change, expected)
        await self._lifecycle.converge(name, retry=retry)

    async def replace(self, name: str, serving: Serving, expected: str | None = None) -> None:
        """Replace the state of a model, even an unreadable one; raise as ``make``."""
        await self._check_known(name)
        await self._prepare(name, self._catalogue.shelf(name).serving, serving)
        await self._disk.run(self._repository.states.replace, name, serving, expected)
        await self._lifecycle.converge(name)

    async def load(
        self, name: str, version: int | None = None, expected: str | None = None
    ) -> None:
        """
        Undo an unload of the model, or load one version and keep it in memory.

        Versions that failed to load are tried again.  Raises as ``make``.
        """
        if version is not None:
            await self._lifecycle.try_again(name, version)
        published = await self._published(name)
        await self.make(
            name, lambda serving: serving.with_loaded(version, published), expected, retry=True
        )
        serving, known = self._catalogue.shelf(name).serving, self._catalogue.versions.get(name, [])
        if version is None and not serving.traffic:
            newest = max((each for each in known if not serving.withdraws(each)), default=0)
            if failure := self._catalogue.failures.get((name, newest)):
                raise ModelUnavailable(name, newest, failure.reason)

    async def unload(
        self, name: str, version: int | None = None, expected: str | None = None
    ) -> None:
        """
        Withdraw a version, or the whole model, until it is loaded again.

        Requests that were accepted are still answered.  Raises as ``make``.
        """
        if version is not None and version not in await self._published(name):
            raise ModelNotFound(name, version)
        await self.make(name, lambda serving: serving.with_unloaded(version), expected)

    async def roll_back(
        self, name: str, version: int | None = None, expected: str | None = None
    ) -> None:
        """
        Send all traffic to a version, by default the one before the newest that has any.

        While the traffic is divided, that is the one before it of those that share it: who takes
        back a canary means the version beside it.  Raises ServingUnfit where there is none, and
        as ``make``.
        """
        await self._check_known(name)
        if version is None:
            version = self._before(name, await self._published(name))
        traffic = {str(version): 1.0}
        await self.make(name, lambda serving: serving.with_(traffic=traffic), expected)

    def _before(self, name: str, published: list[int]) -> int:
        """Return the version to go back to; raise ServingUnfit if there is none."""
        shelf = self._catalogue.shelf(name)
        shares = shelf.traffic.choices if shelf.traffic else []
        answering = sorted(model.entry.version for model, _ in shares)
        newest = answering[-1] if answering else 0
        among = answering if len(answering) > 1 else published
        older = [each for each in among if each < newest and not shelf.serving.withdraws(each)]
        if not older:
            raise ServingUnfit(f"There is no version of {name!r} to go back to.")
        return older[-1]

    async def _published(self, name: str) -> list[int]:
        """List a model's versions as the repository has them now."""
        return [each.version for each in await self._disk.run(self._repository.versions, name)]

    async def _check_known(self, name: str) -> None:
        known = name in self._catalogue.shelves  # also where its files have vanished
        if not known and not await self._published(name):
            raise ModelNotFound(name)

    async def _prepare(self, name: str, before: Serving, after: Serving) -> None:
        for version in sorted(after.uses().keys() - before.uses().keys()):
            await self._lifecycle.try_again(name, version)
