"""Milliseconds of self-attention by time, full and local: ONNX Runtime, one row, one thread."""

import tempfile
import time
from pathlib import Path

import click
import numpy as np
import onnxruntime
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from models.contract import LENGTHS, PREDICTIONS, SEQUENCES, ModelCard
from training.export import export
from training.networks import Scaling, build
from training.recipe import Recipe

TIMES = (512, 1024, 2048, 4096, 8192)
WINDOWS = (None, 512, 128, 32)
HIDDEN, LAYERS, HEADS = 32, 2, 2
_ENOUGH = 0.3  # s spent on repeating one figure


@click.command()
@click.option("--causal/--both-sides", default=True, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="Turns, of which the best counts.")
def main(*, causal: bool, rounds: int) -> None:
    """Print the best of a few rounds, every window and time by turns."""
    with tempfile.TemporaryDirectory() as folder:
        sessions = {window: _session(window, causal, Path(folder)) for window in WINDOWS}
    best: dict[tuple[int | None, int], float] = {}
    for _ in range(rounds):
        for (window, session), steps in ((w, t) for w in sessions.items() for t in TIMES):
            spent = _seconds(session, steps)
            best[window, steps] = min(best.get((window, steps), spent), spent)
    side = "causal" if causal else "both sides"
    table = Table(title=f"{LAYERS} layers, hidden {HIDDEN}, {side}, ms", box=box.MARKDOWN)
    table.add_column("window")
    for steps in TIMES:
        table.add_column(f"{steps:,} steps", justify="right")
    for window in WINDOWS:
        figures = (f"{best[window, steps] * 1000:.1f}" for steps in TIMES)
        table.add_row(f"{window or 'all steps'}", *figures)
    Console(width=110).print(table)


def _session(window: int | None, causal: bool, folder: Path) -> onnxruntime.InferenceSession:  # noqa: FBT001
    """Export an untrained network, for its cost does not depend on its weights."""
    recipe = Recipe.model_validate(
        {
            "name": "local",
            "horizon": 24,
            "max_length": TIMES[-1],
            "data": {"source": "none", "time": "ds", "targets": ["y"], "frequency": "1h"},
            "network": {
                "kind": "attention",
                "hidden": HIDDEN,
                "layers": LAYERS,
                "heads": HEADS,
                "causal": causal,
                "positions": "rotary",
                "window": window,
            },
        }
    )
    torch.manual_seed(0)
    one = np.ones(1, np.float32)
    card = ModelCard(
        name=recipe.name,
        features=recipe.data.columns,
        targets=recipe.data.targets,
        horizon=recipe.horizon,
        quantiles=recipe.quantiles,
        frequency=recipe.data.frequency,
        max_length=TIMES[-1],
    )
    path = folder / f"{window}.onnx"
    export(build(recipe, Scaling(0 * one, one)).eval(), card, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _seconds(session: onnxruntime.InferenceSession, steps: int) -> float:
    rows = np.random.default_rng(0).normal(size=(1, steps, 1)).astype(np.float32)
    feeds = {SEQUENCES: rows, LENGTHS: np.array([steps])}
    best, until = float("inf"), time.perf_counter() + _ENOUGH
    while True:
        started = time.perf_counter()
        session.run([PREDICTIONS], feeds)
        ended = time.perf_counter()
        best = min(best, ended - started)
        if ended > until:
            return best


if __name__ == "__main__":
    main()
