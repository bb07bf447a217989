"""What one request of the largest size allowed leaves behind, in MiB of resident memory."""

import tempfile
import time
from pathlib import Path

import click
import httpx
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.http import CALM, arrow_body, binary_body, json_body, post, windows
from benchmarks.load import Body
from benchmarks.models import published, recipe
from examples.serving import serving
from service.memory import QUIET
from service.settings import Settings

WARM = 50  # ordinary requests before the first look
PAGE, MIB = 4096, 2**20


@click.command()
@click.option("--kind", default="lstm", show_default=True)
def main(kind: str) -> None:
    """Ask for as much as one request may, in each wire format, each of a fresh service."""
    count = Settings().max_sequences
    native, oip = f"/v1/models/bench-{kind}/predict", f"/v2/models/bench-{kind}/infer"
    table = Table(title=f"bench-{kind}, one request of {count} windows", box=box.MARKDOWN)
    for column in ("format", "body MiB", "before MiB", "kept MiB", "kept after three more MiB"):
        table.add_column(column, justify="right" if table.columns else "left")
    for name, path, write in (
        ("JSON", native, json_body),
        ("Arrow", native, arrow_body),
        ("binary", oip, binary_body),
    ):
        small, body = write(windows(1)), write(windows(count))
        figures = _kept(published(recipe(kind)).path.parents[1], path, small, body)
        size = len(body.content) / MIB
        table.add_row(name, f"{size:.1f}", *(f"{figure:.0f}" for figure in figures))
    Console(width=100).print(table)


def _kept(models: Path, path: str, small: Body, body: Body) -> tuple[float, float, float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "log", "--models", str(models), environment=CALM) as service,
        httpx.Client(base_url=service.url, timeout=60) as client,
    ):
        for _ in range(WARM):
            post(client, path, small)
        before = resident(*service.workers())
        post(client, path, body)
        time.sleep(2 * QUIET)  # until it has been quiet for long enough to trim
        after = resident(*service.workers())
        for _ in range(3):
            post(client, path, body)
        time.sleep(2 * QUIET)
        return before, after - before, resident(*service.workers()) - before


def resident(pid: int) -> float:
    """Return the MiB of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / MIB


if __name__ == "__main__":
    main()
