"""
Kill publishers of models at every call they make to the system, and look at what is left.

After each kill: every version that was visible is there, every version that is visible is whole
and passes its checks, what was announced is there, and the next publisher succeeds and removes
what the killed one left.  Every other time a second publisher is at work meanwhile.  Ends with 1
if any of that did not hold.
"""

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from benchmarks.crashing.calls import Seen, run
from models.repository import ABANDONED, Repository
from service.engine.core import Engine, EngineOptions
from service.engine.vetting.verdict import ModelRefused, VettingLimits, vet
from service.settings import ZOO

NAME = "co2-gru"
MODEL = (ZOO / NAME / "1.onnx").read_bytes()
CHUNKS = 8
KEPT = 5  # versions; older ones are removed, so that looking at all stays quick


def write(path: Path) -> None:
    """Write the model as a slow exporter would."""
    size = -(-len(MODEL) // CHUNKS)
    with path.open("wb") as file:
        for start in range(0, len(MODEL), size):
            file.write(MODEL[start : start + size])
            file.flush()


@dataclass
class Drill:
    """One repository, and all that was seen of it."""

    folder: Path
    faults: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    visible: int = 0  # kills that left a new version

    def __post_init__(self) -> None:
        self.repository = Repository(self.folder / "models")
        self.announced = self.folder / "announced"

    def publish(self) -> None:
        """Publish a version, and announce it."""
        entry = self.repository.publish(NAME, write)
        self.announced.write_text(str(entry.version), encoding="ascii")

    def points(self) -> int:
        """Count the points of a publication among as many versions as there are in each round."""
        for _ in range(KEPT):
            self.publish()
        return len(run(self.publish).points)

    def round(self, point: int, *, in_company: bool) -> None:
        """Kill a publisher at a point, and look."""
        self._forget_old()
        before = self._numbers()
        self.announced.unlink(missing_ok=True)
        seen = self._killed(point, in_company=in_company)
        if seen.failed:
            self.faults.append("a publisher failed that nobody had killed")
        self.kills[seen.points[-1] if seen.killed else "not reached"] += 1
        after = self._numbers()
        self.visible += len(after) > len(before) + in_company
        place = f"killed {seen.points[-1]}: "
        self.faults += [place + fault for fault in self._faults(before, after)]
        self.faults += [place + fault for fault in self._next(after)]

    def _killed(self, point: int, *, in_company: bool) -> Seen:
        if not in_company:
            return run(self.publish, point)
        other = threading.Thread(target=self.repository.publish, args=(NAME, write))
        # The fork has this thread alone; the other one publishes while it dies.
        other.start()
        seen = run(self.publish, point)
        other.join()
        return seen

    def _faults(self, before: list[int], after: list[int]) -> Iterator[str]:
        if missing := set(before) - set(after):
            yield f"versions {missing} are gone"
        if self.announced.exists():
            said = self.announced.read_text(encoding="ascii")
            if said and int(said) not in after:
                yield f"version {said} was announced and is not there"
        for entry in self.repository.versions(NAME):
            if entry.path.read_bytes() != MODEL:
                yield f"version {entry.version} is not whole"
            try:
                vet(entry.path, NAME, VettingLimits(), self.folder / "cache")
            except ModelRefused as exc:
                yield f"version {entry.version} does not pass: {exc}"

    def _next(self, after: list[int]) -> Iterator[str]:
        long_ago = time.time() - ABANDONED - 1
        for draft in self._drafts():
            os.utime(draft, (long_ago, long_ago))
        entry = self.repository.publish(NAME, write)
        if after and entry.version <= after[-1]:
            yield f"the next version was {entry.version}"
        if left := self._drafts():
            yield f"{len(left)} drafts stay for ever"

    def _drafts(self) -> list[Path]:
        return list((self.repository.root / NAME).glob(".*"))

    def _numbers(self) -> list[int]:
        return [entry.version for entry in self.repository.versions(NAME)]

    def _forget_old(self) -> None:
        for entry in self.repository.versions(NAME)[:-KEPT]:
            entry.path.unlink()


async def serves(drill: Drill) -> bool:
    """Say whether what all the kills have left is served by its newest version."""
    newest = drill.repository.find(NAME).version
    options = EngineOptions(provider="cpu", threads=1, cache=drill.folder / "cache")
    async with Engine(drill.repository, options) as engine:
        model = engine.newest(NAME)
        return model is not None and model.entry.version == newest and not engine.failures(NAME)


@click.command()
@click.option("--kills", default=200, show_default=True)
def main(kills: int) -> None:
    """Drill, and print what was seen."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="publications-") as text:
        drill = Drill(Path(text))
        points = drill.points()
        for kill in range(kills):
            drill.round(kill * points // kills, in_company=kill % 2 == 1)
        if not asyncio.run(serves(drill)):
            drill.faults.append("the newest version does not serve")
    for place, count in sorted(drill.kills.items()):
        click.echo(f"{count:>5}  {place}")
    for fault in drill.faults:
        click.echo(fault)
    click.echo(
        f"{kills} kills at {points} points, {drill.visible} of them after the version had its "
        f"name; {len(drill.faults)} faults; {time.monotonic() - started:.1f} s"
    )
    if drill.faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
