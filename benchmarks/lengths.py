"""Mixed lengths through our batcher beside one padded batch and one by one; no HTTP."""

import asyncio
import time
from collections.abc import Callable, Sequence

import click
import numpy as np
import onnxruntime as ort

from benchmarks.models import FEATURES, published
from models.contract import LENGTHS, PREDICTIONS, SEQUENCES
from service.engine.batcher import Batcher, Slots
from service.engine.collate import pad
from service.engine.costs import CostGrid
from service.engine.cpus import available_cpus
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner

SIZES, STEPS = (1, 4, 16, 64), (16, 64, 256, 512)


def _rows(lengths: Sequence[int]) -> list[Row]:
    random = np.random.default_rng(0)
    return [Row(random.normal(size=(each, FEATURES)).astype(np.float32)) for each in lengths]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _measured(runner: OnnxRunner) -> CostGrid:
    def best(size: int, steps: int) -> float:
        rows = _rows([steps] * size)
        return min(_seconds(lambda: runner.run(rows)) for _ in range(2))

    return CostGrid(SIZES, STEPS, tuple(tuple(best(i, j) for j in STEPS) for i in SIZES))


async def _compare(kind: str, lengths: Sequence[int], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of every way, the ways by turns."""
    path = published(kind).path
    runner, rows = OnnxRunner(path, Device("cpu", "a benchmark")), _rows(lengths)
    default = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    batcher = Batcher(runner, slots=Slots(available_cpus()), costs=_measured(runner))

    def with_default() -> None:
        sequences, counts = pad([row.sequence for row in rows])
        default.run([PREDICTIONS], {SEQUENCES: sequences, LENGTHS: counts})

    ways: dict[str, Callable[[], object]] = {
        "padded, 1 thread": lambda: runner.run(rows),
        "padded, default threads": with_default,
        "one by one": lambda: [runner.run([row]) for row in rows],
    }
    found: dict[str, list[float]] = {name: [] for name in ("ours", *ways)}
    for _ in range(repeats):
        started = time.perf_counter()
        await batcher.predict(rows)
        found["ours"].append(time.perf_counter() - started)
        for name, work in ways.items():
            found[name].append(_seconds(work))
    await batcher.close()
    return found


@click.command()
@click.option("--repeats", default=7, show_default=True)
def main(repeats: int) -> None:
    """Print sequences/s, best and median, and how many times as fast ours is by the median."""
    uniform = np.random.default_rng(1).integers(16, 513, 64).tolist()
    works = {"uniform 16..512": uniform, "one 512 among 31 of 32": [512] + [32] * 31}
    for kind in ("lstm", "gru"):
        for work, lengths in works.items():
            found = asyncio.run(_compare(kind, lengths, repeats))
            ours = float(np.median(found["ours"]))
            for name, seconds in found.items():
                median = float(np.median(seconds))
                best, usual = len(lengths) / min(seconds), len(lengths) / median
                click.echo(
                    f"{kind:5} {work:23} {name:24} {best:8,.0f} {usual:8,.0f} {median / ours:6.2f}"
                )


if __name__ == "__main__":
    main()
