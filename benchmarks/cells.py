"""Processor time of a training step of each recurrent cell: forward, backward, one thread."""

import time
from typing import Any

import click
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from training.architecture import Cell
from training.denormals import flushed
from training.networks.recurrent import Recurrent

CELLS: dict[str, tuple[Cell, dict[str, Any]]] = {
    "LSTM": ("lstm", {}),
    "LSTM, bidirectional": ("lstm", {"bidirectional": True}),
    "LSTM, layer norm": ("lstm", {"layer_norm": True}),
    "LSTM, state decay": ("lstm", {"keep_energy": True}),
    "LSTM, truncated to 24 steps": ("lstm", {"truncate": 24}),
    "GRU, reset after the product (torch)": ("gru", {}),
    "GRU, bidirectional": ("gru", {"bidirectional": True}),
    "GRU, truncated to 24 steps": ("gru", {"truncate": 24}),
    "GRU, reset before it": ("gru", {"reset": "before"}),
    "RNN": ("rnn", {}),
}
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
            for name, (kind, options) in CELLS.items():
                with flushed():
                    spent = _step(kind, options, *shape)
                best[name, shape] = min(best.get((name, shape), spent), spent)
    for name in CELLS:
        table.add_row(name, *(f"{best[name, shape] * 1000:.1f}" for shape in SHAPES))
    Console(width=110).print(table)


def _step(kind: Cell, options: dict[str, Any], batch: int, steps: int, hidden: int) -> float:
    torch.manual_seed(0)
    reader = Recurrent(kind, FEATURES, hidden, LAYERS, 0.0, **options)
    sequences, lengths = torch.randn(batch, steps, FEATURES), torch.full((batch,), steps)
    started = time.process_time()  # others on the machine do not count
    state, _ = reader(sequences, lengths)
    energy = reader.take_energy()
    loss = state.sum() if energy is None else state.sum() + energy
    loss.backward()
    return time.process_time() - started


if __name__ == "__main__":
    main()
