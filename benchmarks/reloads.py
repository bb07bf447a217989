"""
Reload a model again and again under load, and count the requests that failed.

Versions are published, rolled back, divided and renamed in a service of two workers, while
clients predict and step sessions; each answer must be that of the version it names.  Ends with 1
if one request failed or one answer was another version's.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.reloading.drill import KINDS, Drill, Plan, Report


@click.command()
@click.option("--reloads", default=100, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--clients", default=8, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(reloads: int, workers: int, clients: int, seed: int) -> None:
    """Drill, and print what was seen."""
    with tempfile.TemporaryDirectory(prefix="reloads-") as text:
        plan = Plan(reloads, workers, clients, seed)
        report = asyncio.run(Drill(plan, Path(text), click.echo).run())
    _print(report)
    for fault in report.faults[:20]:
        click.echo(fault)
    if report.faults:
        sys.exit(1)


def _print(report: Report) -> None:
    table = Table(box=box.MARKDOWN)
    table.add_column("seen")
    table.add_column("", justify="right")
    p50, p99 = np.percentile(report.milliseconds, [50, 99])
    tenth = max(1, len(report.memory) // 10)
    for name, figure in (
        ("reloads", str(report.reloads.total())),
        *((f"  {kind}", str(report.reloads[kind])) for kind in KINDS),
        ("predictions", f"{report.versions.total():,}"),
        ("  whose body came in two parts, up to 2 s apart", f"{report.slow:,}"),
        ("versions that answered", str(len(report.versions))),
        ("steps of sessions", f"{report.steps:,}"),
        ("failed, or another version's answer", str(len(report.faults))),
        ("p50 / p99 / slowest, ms", f"{p50:.1f} / {p99:.1f} / {max(report.milliseconds):.0f}"),
        (
            "until every worker had it, median / slowest, s",
            f"{np.median(report.seconds):.2f} / {max(report.seconds):.2f}",
        ),
        (
            "memory of all workers, first and last tenth, MiB",
            f"{np.mean(report.memory[:tenth]):.0f}, {np.mean(report.memory[-tenth:]):.0f}",
        ),
    ):
        table.add_row(name, figure)
    Console().print(table)


if __name__ == "__main__":
    main()
