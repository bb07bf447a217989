"""
Goodput and latency of a service that is offered up to ten times what it can do, as one table.

The service has one processor and the generator another, so neither slows the other down.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import click
import numpy as np
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.http import CALM, binary_body, windows
from benchmarks.memory import resident
from benchmarks.models import published, recipe
from benchmarks.openloop import Load, Seen, Times
from examples.serving import Served, serving
from service.engine.cpus import available_cpus
from training.recipe import Recipe

LEVELS = "0.5,0.8,1,2,5,10"
WARM_UP = 2.0  # seconds of each level that are not counted
SETTLE = 1.5  # seconds of rest between two levels
MILLISECONDS = 1e3

# What is promised: of the peak, times the p99 at CALM_LOAD, seconds, seconds, MiB.
GOODPUT, SLOWER, REFUSED, LIVE, MORE = 0.9, 2.0, 0.01, 0.05, 64.0
CALM_LOAD = 0.8

# By load: what was seen, the processor's seconds and the MiB of the worker.
Levels = dict[float, tuple[Seen, float, float]]


def heavy(hidden: int) -> Recipe:
    """Return a network that is work for a processor, so that one generator can offer ten times."""
    made = recipe("lstm")
    network = {"kind": "lstm", "hidden": hidden, "layers": 2}
    name = f"bench-lstm-{hidden}"
    return Recipe.model_validate(made.model_dump() | {"name": name, "network": network})


@click.command()
@click.option("--seconds", default=8.0, show_default=True, help="Length of each level.")
@click.option("--connections", default=1_000, show_default=True, help="Kept open, for all levels.")
@click.option("--levels", default=LEVELS, show_default=True, help="Loads, by the capacity.")
@click.option("--queue-ms", type=float, help="SEQSERVE_MAX_QUEUE_MS, if not its default.")
@click.option("--hidden", default=512, show_default=True, help="Units of each of two layers.")
def main(
    seconds: float, connections: int, levels: str, queue_ms: float | None, hidden: int
) -> None:
    """Measure each level of load, and say what was not as promised; ends with 1 then."""
    if available_cpus() < 2:  # noqa: PLR2004
        raise click.ClickException("A processor for the service and one for the load are needed.")
    entry = published(heavy(hidden))
    models = entry.path.parents[1]
    # Connections are kept from level to level, and some levels do not need them all.
    kept = {"SEQSERVE_KEEP_ALIVE_S": "600", "SEQSERVE_HEAD_TIMEOUT_S": "600"}
    settings = {**CALM, **kept, "SEQSERVE_STORE": "none"}
    if queue_ms is not None:
        settings["SEQSERVE_MAX_QUEUE_MS"] = str(queue_ms)
    processors = sorted(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory() as folder,
        _pinned(processors[:1], Path(folder, "log"), models, settings) as service,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        os.sched_setaffinity(0, processors[1:2])
        loads = [float(level) for level in levels.split(",")]
        found = runner.run(_measure(service, entry.name, seconds, connections, loads))
    missed = list(broken(found))
    for each in missed:
        click.echo(f"not as promised: {each}")
    if missed:
        sys.exit(1)


def _pinned(
    processors: Sequence[int], log: Path, models: Path, settings: dict[str, str]
) -> AbstractContextManager[Served]:
    """Start a service on these processors alone; its children inherit them."""
    os.sched_setaffinity(0, processors)
    return serving(log, "--models", str(models), "--provider", "cpu", environment=settings)


async def _measure(
    service: Served, name: str, seconds: float, connections: int, loads: Sequence[float]
) -> Levels:
    host, port = service.url.removeprefix("http://").split(":")
    body = binary_body(windows(1))
    heads = {"Host": "bench", "Content-Length": str(len(body.content)), **body.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in heads.items())
    request = f"POST /v2/models/{name}/infer HTTP/1.1\r\n{lines}\r\n".encode() + body.content
    load = Load(host, int(port), request, connections)
    await load.connect()
    capacity = await load.capacity(seconds)
    click.echo(f"{name}: {capacity:,.0f} windows/s on one processor, asked by 64 at once")
    levels: Levels = {}
    for level in loads:
        await asyncio.sleep(SETTLE)
        (worker,) = service.workers()
        began = processor_seconds(worker)
        seen = await load.offer(level * capacity, seconds, WARM_UP)
        levels[level] = seen, processor_seconds(worker) - began, resident(worker)
        click.echo(f"{level:g}x: {seen.goodput:,.0f} good answers/s", err=True)
    Console(width=140).print(_table(levels, capacity))
    return levels


def broken(levels: Levels) -> Iterator[str]:
    """Yield what of the promises of an overload does not hold, each with both figures."""
    highest, peak = max(levels), max(seen.goodput for seen, _, _ in levels.values())
    most = levels[highest][0]
    if most.goodput < GOODPUT * peak:
        yield f"goodput at {highest:g}x is {most.goodput / peak:.2f} of the peak, not {GOODPUT}"
    if CALM_LOAD in levels and most.answered:
        calm, late = (np.quantile(levels[at][0].answered, 0.99) for at in (CALM_LOAD, highest))
        if late > SLOWER * calm:
            yield f"p99 at {highest:g}x is {late / calm:.1f} times that at 0.8x, not {SLOWER}"
    least = min(memory for _, _, memory in levels.values())
    for level, (seen, _, memory) in sorted(levels.items()):
        refused = np.quantile(seen.refused, 0.99) if seen.refused else 0.0
        if refused > REFUSED:
            yield f"at {level:g}x refusals take {1000 * refused:.1f} ms, not {1000 * REFUSED:g}"
        if max(seen.live, default=0.0) > LIVE:
            yield f"at {level:g}x liveness took {1000 * max(seen.live):.0f} ms, not {1000 * LIVE:g}"
        if memory > least + MORE:
            yield f"at {level:g}x there are {memory - least:.0f} MiB more, not {MORE:g}"
        if bad := seen.failed + seen.without_retry_after:
            yield f"at {level:g}x {bad} requests had no answer, another or no Retry-After"


def _table(levels: Levels, capacity: float) -> Table:
    table = Table(box=box.MARKDOWN)
    heads = ("load", "offered/s", "goodput/s", "of peak", "p50 ms", "p99 ms")
    more = ("refused p50", "refused p99", "alive max", "per cpu s", "MiB", "lag p99", "failed")
    for column in (*heads, *more):
        table.add_column(column, justify="right")
    peak = max(seen.goodput for seen, _, _ in levels.values())
    for level, (seen, spent, memory) in levels.items():
        table.add_row(
            f"{level:g}x",
            f"{level * capacity:,.0f}",
            f"{seen.goodput:,.0f}",
            f"{seen.goodput / peak:.2f}",
            *(_quantile(seen.answered, q) for q in (0.5, 0.99)),
            *(_quantile(seen.refused, q) for q in (0.5, 0.99)),
            _quantile(seen.live, 1.0),
            f"{seen.all_answered / spent:,.0f}",
            f"{memory:.0f}",
            _quantile(seen.lag, 0.99),
            str(seen.failed + seen.without_retry_after),
        )
    return table


def processor_seconds(pid: int) -> float:
    """Return what a process has had of the processors: on a busy machine that says more."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _quantile(times: Times, q: float) -> str:
    return f"{np.quantile(times, q) * MILLISECONDS:.1f}" if times else ""


if __name__ == "__main__":
    main()
