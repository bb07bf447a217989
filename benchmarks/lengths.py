"""Mixed lengths through our batcher beside one padded batch and one by one; no HTTP."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import click
import numpy as np
import onnxruntime as ort
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.models import FEATURES, published, recipe
from models.contract import LENGTHS, PREDICTIONS, SEQUENCES
from service.engine.batcher import Batcher, Slots
from service.engine.collate import pad
from service.engine.cpus import available_cpus
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner
from service.engine.tuning import measure

OURS = "ours"
COLUMNS = ("model", "lengths", "way", "best /s", "median /s", "ours / theirs")


@click.command()
@click.option("--repeats", default=15, show_default=True)
def main(repeats: int) -> None:
    """Print sequences/s, best and median, and how many times as fast ours is by the best."""
    uniform = np.random.default_rng(1).integers(16, 513, 64).tolist()
    works = {"uniform 16..512": uniform, "one 512 among 31 of 32": [512] + [32] * 31}
    table = Table(box=box.MARKDOWN, title=f"{available_cpus()} processors")
    for place, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if place < 3 else "right")  # noqa: PLR2004
    for kind in ("lstm", "gru"):
        for work, lengths in works.items():
            found = asyncio.run(_compare(kind, lengths, repeats))
            ours = min(found[OURS])
            for name, seconds in found.items():
                best, median = len(lengths) / min(seconds), len(lengths) / np.median(seconds)
                ratio = min(seconds) / ours
                table.add_row(kind, work, name, f"{best:,.0f}", f"{median:,.0f}", f"{ratio:.2f}")
    Console(width=110).print(table)


async def _compare(kind: str, lengths: Sequence[int], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of every way, the ways by turns, the first turn not counted."""
    path, threads = published(recipe(kind)).path, available_cpus()
    runner, rows = OnnxRunner(path, Device("cpu", "a benchmark")), _rows(lengths)
    costs = measure(runner, runner.card, budget=2.0)
    batcher = Batcher(runner, slots=Slots(threads), costs=costs)
    ways = _others(runner, ort.InferenceSession(path, providers=["CPUExecutionProvider"]), rows)
    found: dict[str, list[float]] = {name: [] for name in (OURS, *ways)}
    for _ in range(repeats + 1):
        started = time.perf_counter()
        await batcher.predict(rows)
        found[OURS].append(time.perf_counter() - started)
        for name, work in ways.items():
            started = time.perf_counter()
            work()
            found[name].append(time.perf_counter() - started)
    await batcher.close()
    return {name: seconds[1:] for name, seconds in found.items()}


def _others(
    runner: OnnxRunner, default: ort.InferenceSession, rows: Sequence[Row]
) -> dict[str, Callable[[], object]]:
    pool = ThreadPoolExecutor(available_cpus())

    def padded_by_default() -> None:
        sequences, counts = pad([row.sequence for row in rows])
        default.run([PREDICTIONS], {SEQUENCES: sequences, LENGTHS: counts})

    return {
        "padded, one thread": lambda: runner.run(rows),
        "padded, default threads": padded_by_default,
        "one by one, one thread": lambda: [runner.run([row]) for row in rows],
        "one by one, all processors": lambda: list(pool.map(lambda row: runner.run([row]), rows)),
    }


def _rows(lengths: Sequence[int]) -> list[Row]:
    random = np.random.default_rng(0)
    return [Row(random.normal(size=(each, FEATURES)).astype(np.float32)) for each in lengths]


if __name__ == "__main__":
    main()
