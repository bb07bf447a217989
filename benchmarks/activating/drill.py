"""Kill who publishes and activates, and look what serves after a restart."""

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.activating.victim import OPERATIONS, operate
from benchmarks.reloading.versions import MODEL, adding, answers, rows
from models.repository import Repository
from models.serving import Serving
from service.engine.core import Engine, EngineOptions
from service.engine.jobs import Row

KILLED = -9


@dataclass(slots=True)
class Report:
    """What was seen."""

    kills: Counter[str] = field(default_factory=Counter)  # by operation
    before: int = 0  # restarts that found the state from before the operation
    after: int = 0  # that found what it was to be
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Stage:
    """A repository in which an operation begins, and what it is after it."""

    folder: Path
    operation: str
    lines: int
    before: tuple[Serving, int]  # the state, and who serves
    after: tuple[Serving, int]


class Drill:
    """
    Kills ``kills`` processes, spread evenly over the lines of each operation.

    ``writing`` kills at those lines alone that write files.
    """

    def __init__(
        self, kills: int, folder: Path, tell: Callable[[str], None], *, writing: bool = False
    ) -> None:
        self._code = "writing" if writing else "all"
        self._kills = kills
        self._folder = folder
        self._tell = tell
        self._cache = folder / "cache"
        self._hashes: dict[int, str] = {}
        self.report = Report()

    async def run(self) -> Report:
        """Return what was seen; faults among it."""
        stages = await self._prepare()
        for place, stage in enumerate(stages):
            share = self._kills // len(stages) + (place < self._kills % len(stages))
            for number in range(share):
                at = 1 + int((number + 0.5) * stage.lines / share)
                await self._kill(stage, at)
            self._tell(f"{self.report.kills.total()} kills")
        return self.report

    async def _prepare(self) -> list[_Stage]:
        """Go through all operations once, undisturbed, and keep where each began."""
        folder = self._folder / "whole"
        repository = Repository(folder)
        for number in (1, 2):
            repository.publish(MODEL, adding(number))
        stages = []
        for operation in OPERATIONS:
            kept = self._folder / operation.replace(" ", "-")
            shutil.copytree(folder, kept)
            before = await self._look(folder)
            status, said = await asyncio.to_thread(self._start, folder, operation, 0)
            if status:
                raise RuntimeError(f"{operation} ended with {status}")
            stages.append(_Stage(kept, operation, int(said), before, await self._look(folder)))
        for entry in repository.versions(MODEL):
            self._hashes[entry.version] = _hash(entry.path)
        self._answers = {entry.version: answers(entry.path) for entry in repository.versions(MODEL)}
        return stages

    def _start(self, folder: Path, operation: str, at: int) -> tuple[int, str]:
        words = (str(folder), str(self._cache), operation, self._code, str(at))
        command = [sys.executable, "-m", "benchmarks.activating.victim", *words]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
        return ended.returncode, ended.stdout

    async def _look(self, folder: Path) -> tuple[Serving, int]:
        repository = Repository(folder)
        async with self._engine(repository) as engine:
            main = engine.newest(MODEL)
            return repository.states.read(MODEL), main.entry.version if main else 0

    def _engine(self, repository: Repository) -> Engine:
        return Engine(
            repository,
            EngineOptions(provider="cpu", threads=1, watch_seconds=0, cache=self._cache),
        )

    async def _kill(self, stage: _Stage, at: int) -> None:
        folder = self._folder / "victim"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(stage.folder, folder)
        status, _ = await asyncio.to_thread(self._start, folder, stage.operation, at)
        where = f"{stage.operation}, line {at} of {stage.lines}"
        if status not in (0, KILLED):  # the last line may not be reached twice alike
            self.report.faults.append(f"{where}: ended with {status}")
        self.report.kills[stage.operation] += status == KILLED
        try:
            await self._restart(stage, folder)
        except Exception as exc:  # noqa: BLE001  whatever it is, it is a fault
            self.report.faults.append(f"{where}: {exc!r}")

    async def _restart(self, stage: _Stage, folder: Path) -> None:
        """Raise unless one whole version serves, and the operation can be done again."""
        repository = Repository(folder)
        for entry in repository.versions(MODEL):
            _insist(_hash(entry.path) == self._hashes[entry.version], f"{entry} is not whole")
        state = repository.states.read(MODEL)
        async with self._engine(repository) as engine:
            model = engine.newest(MODEL)
            _insist(model is not None and engine.ready, "nothing serves")
            if model is None:
                return
            version = model.entry.version
            found = state, version
            # A file that was published and not yet taken up serves after a restart.
            _insist(found in (stage.before, stage.after), f"{version} serves by {state}")
            self.report.after += found == stage.after
            self.report.before += found != stage.after
            asked = Row(np.array(rows()[0], np.float32)[:, None])
            (answer,), _ = await engine.predict(model, [asked])
            said = np.array_equal(answer.mean[:, 0], self._answers[version][0])
            _insist(said, f"version {version} answers something else")
            if found != stage.after:
                await operate(engine, repository, stage.operation)
                _insist(repository.states.read(MODEL) == stage.after[0], "it cannot be done again")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _insist(holds: bool, otherwise: str) -> None:  # noqa: FBT001  a condition
    if not holds:
        raise RuntimeError(otherwise)
