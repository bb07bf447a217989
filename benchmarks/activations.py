"""
Kill a process at every part of publishing and activating a version, and restart.

After each kill one whole, verified version must serve: the one from before, or the one that was
to be, by a state that can be read; and the same operation must succeed.  Ends with 1 otherwise.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.activating.drill import Drill
from benchmarks.activating.victim import OPERATIONS


@click.command()
@click.option("--kills", default=200, show_default=True)
def main(kills: int) -> None:
    """Drill, and print what was seen."""
    with tempfile.TemporaryDirectory(prefix="activations-") as text:
        report = asyncio.run(Drill(kills, Path(text), click.echo).run())
    table = Table(box=box.MARKDOWN)
    table.add_column("seen")
    table.add_column("", justify="right")
    for name, figure in (
        ("kills", report.kills.total()),
        *((f"  {operation}", report.kills[operation]) for operation in OPERATIONS),
        ("found as it was before", report.before),
        ("found as it was to be", report.after),
        ("faults", len(report.faults)),
    ):
        table.add_row(name, str(figure))
    Console().print(table)
    for fault in report.faults:
        click.echo(fault)
    if report.faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
