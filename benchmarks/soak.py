"""
Does a service grow?  Everything it has is asked of it for an hour while its memory is watched.

At the end the same service is made to leak, under the same traffic, and watched a little longer:
a measure that does not see a leak says nothing of a service without one.  Ends with 1 if the
service grew by more than the bound, if the leak was not seen for about what it is, or if an
answer was none of the good ones; with ``--insist`` also if the run was too short or too noisy
to tell.
"""

import asyncio
import csv
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.soaking.footprint import Footprint, Look, ended, lasting, look, total
from benchmarks.soaking.slope import BLOCKS, HOUR, Slope, slope
from benchmarks.soaking.traffic import Traffic
from examples.serving import serving
from service.settings import ZOO

LEAKING = Path(__file__).parent / "soaking/leaking"
KIND = "anonymous"  # the figure that judges
MIB = 2**20
CONTROL = 60.0  # seconds, at least, that the leak is watched
ABOUT = 1.5  # what is seen of the leak may differ from it by this factor


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a service is watched, and how."""

    seconds: float
    warm_up: float  # of them; what caches and arenas take until they are full
    every: float  # seconds between two looks
    clients: int
    leak: int  # bytes a request, afterwards

    @property
    def control(self) -> float:
        """The seconds that the leak is watched."""
        return max(CONTROL, self.seconds / 12) if self.leak else 0.0


@dataclass(slots=True)
class Phase:
    """What a service had, look by look, and how much was asked of it."""

    times: list[float] = field(default_factory=list)  # seconds
    looks: list[Look] = field(default_factory=list)
    requests: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def had(self) -> list[Footprint]:
        """Return what those processes had that were there all the time; others check a model."""
        processes = lasting(self.looks)
        return [total(each, processes) for each in self.looks]

    def slope(self, kind: str) -> Slope:
        """Return how one figure grew."""
        return slope(self.times, [getattr(had, kind) for had in self.had()])


@click.command()
@click.option("--minutes", default=60.0, show_default=True)
@click.option("--warm-up", default=0.2, show_default=True, help="Part of the time that is passed.")
@click.option("--every", default=5.0, show_default=True, help="Seconds between two looks.")
@click.option("--clients", default=8, show_default=True)
@click.option("--bound", default=1.0, show_default=True, help="MiB/h that it may grow.")
@click.option("--leak", default=1024, show_default=True, help="Bytes a request, planted; 0: none.")
@click.option("--looks", type=click.Path(path_type=Path), help="Write every look here, as CSV.")
@click.option("--insist", is_flag=True, help="Fail, too, unless it holds 19 times of 20.")
def main(  # noqa: PLR0913  one option each
    *,
    minutes: float,
    warm_up: float,
    every: float,
    clients: int,
    bound: float,
    leak: int,
    looks: Path | None,
    insist: bool,
) -> None:
    """Watch a service, first as it is and then with a leak."""
    plan = Plan(minutes * 60, minutes * 60 * warm_up, every, clients, leak)
    warming, clean, leaking, traffic = asyncio.run(_watch(plan))
    _print(traffic, warming, clean)
    if looks is not None:
        _write(looks, {"warming": warming, "clean": clean, "leaking": leaking})
    found = clean.slope(KIND)
    verdict, holds = _judge(found, bound)
    click.echo(verdict)
    caught = not leak or _caught(leaking, leak, bound)
    for pid in ended(warming.looks[-1:] + clean.looks):
        traffic.faults[f"process {pid} ended"] += 1
    for fault, count in traffic.faults.most_common(20):
        click.echo(f"{count} times {fault}")
    if not caught or found.low > bound or traffic.faults or (insist and not holds):
        sys.exit(1)


def _judge(found: Slope, bound: float) -> tuple[str, bool]:
    told = f"{found.value:+.2f} MiB/h, between {found.low:+.2f} and {found.high:+.2f} (95 %)"
    if found.high <= bound:
        return f"Holds: {told}.", True
    if found.low > bound:
        return f"GROWS: {told}, which is more than {bound:g}.", False
    if found.value <= bound:
        return f"Under {bound:g}, though not 19 times of 20: {told}.", False
    return f"Cannot tell whether it is under {bound:g}: {told}.", False


def _caught(leaking: Phase, leak: int, bound: float) -> bool:
    found, planted = leaking.slope(KIND), leaking.rate * leak * HOUR / MIB
    caught = found.low > bound and planted / ABOUT < found.value < planted * ABOUT
    click.echo(
        f"Planted {leak} bytes a request, {planted:,.0f} MiB/h: {'seen' if caught else 'NOT SEEN'}"
        f" as {found.value:,.0f} ({found.low:,.0f} to {found.high:,.0f})."
    )
    return caught


async def _watch(plan: Plan) -> tuple[Phase, Phase, Phase, Traffic]:
    """Return what was seen while it warmed up, as it is, and while it leaked."""
    with tempfile.TemporaryDirectory(prefix="soak-") as text:
        folder = Path(text)
        models, log, leak = folder / "models", folder / "log", folder / "leak"
        shutil.copytree(ZOO, models)
        paths = [str(LEAKING), os.environ.get("PYTHONPATH", str(Path.cwd()))]
        environment = {
            "PYTHONPATH": os.pathsep.join(paths),
            "SEQSERVE_STORE": f"sqlite:///{folder}/sessions.db",
            "SEQSERVE_STATES": str(folder / "states"),
            "SEQSERVE_SESSION_IDLE_S": "60",
            "SEQSERVE_MAX_BODY_BYTES": "200000",
            "SOAK_LEAK": str(leak),
        }
        options = ("--models", str(models), "--provider", "cpu")
        with serving(log, *options, environment=environment) as service:
            traffic = Traffic(service.url, plan.clients, seed=0)
            asking = asyncio.create_task(traffic.run())

            async def phase(seconds: float) -> Phase:
                pause = min(plan.every, seconds / (5 * BLOCKS))
                return await _look(service.pid, traffic, log, seconds, pause)

            warming = await phase(plan.warm_up)
            clean = await phase(plan.seconds - plan.warm_up)
            leak.write_bytes(bytes(plan.leak))
            leaking = await phase(plan.control)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking  # raises what ended the traffic before
            return warming, clean, leaking, traffic


async def _look(pid: int, traffic: Traffic, log: Path, seconds: float, pause: float) -> Phase:
    """Look at a service for so many seconds while it is asked."""
    seen, before, began = Phase(), traffic.requests, time.monotonic()
    while (seen_for := time.monotonic() - began) < seconds:
        seen.times.append(seen_for)
        seen.looks.append(await asyncio.to_thread(look, pid))
        os.truncate(log, 0)  # the hour's lines would fill a disk
        await asyncio.sleep(pause)
    seen.requests, seen.seconds = traffic.requests - before, seconds
    return seen


def _print(traffic: Traffic, warming: Phase, clean: Phase) -> None:
    console = Console(width=110)
    asked = Table("asked", "times", box=box.MARKDOWN)
    for kind, count in traffic.done.most_common():
        asked.add_row(kind, f"{count:,}")
    asked.add_row("a second", f"{clean.rate:.0f}")
    console.print(asked)
    grew = Table("memory, MiB", "at first", "warm", "at last", "MiB/h", "95 %", box=box.MARKDOWN)
    for kind in Footprint._fields:
        found = clean.slope(kind)
        looks = warming.had()[0], clean.had()[0], clean.had()[-1]
        grew.add_row(
            kind,
            *(f"{getattr(had, kind):.1f}" for had in looks),
            f"{found.value:+.2f}",
            f"{found.low:+.2f} to {found.high:+.2f}",
        )
    console.print(grew)
    click.echo(
        f"{clean.seconds / 60:.1f} minutes after {warming.seconds / 60:.1f} to warm up; growth"
        f" under {clean.slope(KIND).resolution:.2f} MiB/h could not have been told from none."
    )


def _write(path: Path, phases: dict[str, Phase]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["phase", "seconds", *Footprint._fields])
        for name, phase in phases.items():
            for when, had in zip(phase.times, phase.had(), strict=True):
                writer.writerow([name, f"{when:.1f}", *(f"{each:.3f}" for each in had)])


if __name__ == "__main__":
    main()
