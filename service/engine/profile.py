"""The text of ``seqserve profile``: what a model's batches cost on this machine."""

from service.engine.costs import CostGrid
from service.engine.cpus import available_cpus
from service.engine.runner import Device, OnnxRunner
from service.engine.tuning import measure


def report(content: bytes, seconds: float) -> str:
    """
    Measure a model on the CPU for about ``seconds``, with one thread a run and with all.

    Raises ModelRejected.
    """
    processors = available_cpus()
    ways = [1, processors] if processors > 1 else [1]
    parts = [f"{processors} processors"]
    for threads in ways:
        runner = OnnxRunner(content, Device("cpu", "to measure"), threads)
        grid = measure(runner, runner.card, seconds / len(ways))
        parts.append(f"\n{threads} thread{'s' * (threads > 1)} a run, milliseconds:")
        parts.extend(_table(grid))
    return "\n".join(parts)


def _table(grid: CostGrid) -> list[str]:
    width = 12
    lines = ["sequences" + "".join(f"{f'{steps} steps':>{width}}" for steps in grid.steps)]
    for size, row in zip(grid.sizes, grid.seconds_at, strict=True):
        lines.append(f"{size:>9}" + "".join(f"{1000 * time:>{width}.3f}" for time in row))
    sizes = [grid.useful_size(steps) for steps in grid.steps]
    rates = [
        size / grid.seconds(size, steps) for size, steps in zip(sizes, grid.steps, strict=True)
    ]
    lines.append("useful   " + "".join(f"{size:>{width}}" for size in sizes))
    lines.append("a second " + "".join(f"{rate:>{width},.0f}" for rate in rates))
    return lines
