"""Milliseconds of a training step of each recurrent cell: forward, backward, one thread."""

import time

import click
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from training.networks.cells import stack
from training.recipe import Cell, Reset

CELLS: tuple[tuple[str, Cell, Reset], ...] = (
    ("LSTM", "lstm", "after"),
    ("GRU, reset after the product (torch)", "gru", "after"),
    ("GRU, reset before it", "gru", "before"),
    ("RNN", "rnn", "after"),
)
SHAPES = ((64, 96, 64), (32, 336, 128))  # batch, time, hidden
FEATURES, LAYERS = 8, 2


@click.command()
@click.option("--repeats", default=5, show_default=True)
def main(repeats: int) -> None:
    """Print the best of a few repeats, each cell by turns."""
    torch.set_num_threads(1)
    table = Table(title=f"{LAYERS} layers, {FEATURES} features", box=box.MARKDOWN)
    table.add_column("cell")
    best: dict[tuple[str, tuple[int, int, int]], float] = {}
    for shape in SHAPES:
        table.add_column("{}x{}, hidden {}, ms".format(*shape), justify="right")
        for _ in range(repeats):
            for name, kind, reset in CELLS:
                spent = _step(kind, reset, *shape)
                best[name, shape] = min(best.get((name, shape), spent), spent)
    for name, _, _ in CELLS:
        table.add_row(name, *(f"{best[name, shape] * 1000:.1f}" for shape in SHAPES))
    Console(width=110).print(table)


def _step(kind: Cell, reset: Reset, batch: int, steps: int, hidden: int) -> float:
    torch.manual_seed(0)
    cell = stack(kind, reset, FEATURES, hidden, LAYERS, 0.0)
    sequences = torch.randn(batch, steps, FEATURES)
    started = time.perf_counter()
    states, _ = cell(sequences)
    states[:, -1].sum().backward()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
