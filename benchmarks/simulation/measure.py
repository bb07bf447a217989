"""Measure what batches of bench-lstm cost on this machine, and keep it for the simulation."""

import json
from pathlib import Path

import click

from benchmarks.models import published, recipe
from benchmarks.simulation.prices import MEASURED
from benchmarks.simulation.traffic import LONGEST
from service.engine.runner import Device, OnnxRunner
from service.engine.tuning import measure


@click.command()
@click.option("--seconds", default=20.0, show_default=True, help="About how long to measure.")
@click.option("--file", default=MEASURED, show_default=True, type=click.Path(path_type=Path))
def main(seconds: float, file: Path) -> None:
    """
    Write the costs of batches on one thread.

    Up to the longest sequence of the traffic, which is longer than the model's card allows; an
    LSTM does not care.
    """
    entry = published(recipe("lstm"))
    runner = OnnxRunner(entry.path, Device("cpu", "a benchmark"))
    grid = measure(runner, runner.card.model_copy(update={"max_length": LONGEST}), seconds)
    rows = [[float(f"{seconds:.4g}") for seconds in row] for row in grid.seconds_at]
    kept = {
        "model": f"{entry.name} version {entry.version}",
        "command": f"python -m benchmarks.simulation.measure --seconds {seconds:g}",
        "sizes": grid.sizes,
        "steps": grid.steps,
        "seconds_at": rows,
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in kept.items()]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
