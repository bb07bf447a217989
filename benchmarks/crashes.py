"""
Kill services while clients step sessions, and count what was lost, doubled or wrong.

One service on a file of SQLite, or, with ``--redis``, two on one Redis server, which is killed,
too, and rolling restarts in between.  Ends with 1 if an acknowledged step was lost, doubled or
wrong, or if a service took more than five seconds to be ready again.
"""

import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.crashing.drill import Drill, Plan, Report
from benchmarks.crashing.processes import PLACES
from benchmarks.crashing.references import Reference, Torch, Window

READY = 5.0  # seconds that a start may take


@click.command()
@click.option("--kills", default=1000, show_default=True)
@click.option("--steps", default=100_000, show_default=True, help="Acknowledged, at least.")
@click.option("--sessions", default=50, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--redis", is_flag=True, help="Two services on one Redis server.")
def main(kills: int, steps: int, sessions: int, seed: int, *, redis: bool) -> None:
    """Drill, and print what was seen."""
    with tempfile.TemporaryDirectory(prefix="crashes-") as text:
        folder = Path(text)
        references: list[Reference] = [Torch(folder), Window(folder)]
        plan = Plan(kills, steps, sessions, seed=seed)
        if redis:
            plan = replace(plan, services=2, pace=0.2, rolling=10, redis=20)
        report = asyncio.run(Drill(plan, folder, references, click.echo).run())
    _print(report)
    slow = sum(start > READY for start in report.starts)
    for fault in report.faults:
        click.echo(fault)
    if report.faults or slow:
        click.echo(f"{len(report.faults)} faults; {slow} starts took more than {READY:g} s")
        sys.exit(1)


def _print(report: Report) -> None:
    tally, starts = report.tally, sorted(report.starts)
    table = Table(box=box.MARKDOWN)
    table.add_column("seen")
    table.add_column("", justify="right")
    for name, figure in (
        ("kills", f"{report.kills.total():,}"),
        *((f"  {place}", str(report.kills[place])) for place in PLACES),
        ("  of these from without, the point not reached", str(report.unreached.total())),
        ("kills of Redis", str(report.redis_kills)),
        ("ends in order, rolling", str(report.rolled)),
        ("acknowledged steps", f"{tally.steps:,}"),
        ("  stored when their client had heard nothing", f"{report.replays:,}"),
        ("  sent once more, the same bytes", f"{tally.again:,}"),
        ("requests without an answer", f"{tally.broken:,}"),
        *((f"steps told {status}", f"{n:,}") for status, n in sorted(tally.refused.items())),
        *(
            (f"{name}: answers compared, wrong, largest error", _verdict(report, name))
            for name in report.verdicts
        ),
        ("start until ready, median s", f"{starts[len(starts) // 2]:.2f}"),
        ("  99 %", f"{starts[int(0.99 * len(starts))]:.2f}"),
        ("  slowest", f"{starts[-1]:.2f}"),
        ("minutes", f"{report.seconds / 60:.1f}"),
        ("faults", str(len(report.faults))),
    ):
        table.add_row(name, figure)
    Console(width=100).print(table)


def _verdict(report: Report, name: str) -> str:
    verdict = report.verdicts[name]
    return f"{verdict.answers:,}, {verdict.wrong}, {verdict.worst:.1e}"


if __name__ == "__main__":
    main()
