"""The demo: train three models, serve them, forecast a batch of mixed lengths, show it."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl
import numpy as np
import plotext
from rich import box
from rich.console import Console
from rich.table import Table

from examples.serving import free_port, serving
from models.contract import ModelCard
from models.repository import Repository
from training.data import read_table
from training.pipeline import train
from training.recipe import Recipe
from training.report import accuracy_table

RECIPES = Path(__file__).parent.parent / "training/recipes"
MODELS = ("co2-gru", "co2-lstm", "elnino-attention")
OUTPUT = Path("demo-output")

console = Console()


def main() -> None:
    """Run every step; a step that fails ends the demo with its error."""
    started = time.perf_counter()
    repository = Repository(OUTPUT / "models")
    recipes = [_recipe(name) for name in MODELS]
    for recipe in recipes:
        console.rule(f"Training {recipe.name}")
        # Losses are told of too, and are on the card: a demo that publishes nothing shows nothing.
        published = train(
            recipe,
            repository,
            checkpoints=OUTPUT / "checkpoints",
            anyway=True,
            say=console.print,
        )
        console.print(accuracy_table(published.card))
    console.rule("Serving")
    options = ("--models", str(repository.root))
    with serving(OUTPUT / "service.log", *options, port=free_port(8000)) as service:
        url = service.url
        forecasts = [_forecast(url, recipe) for recipe in recipes]
        picture = _picture(forecasts)
        seconds = time.perf_counter() - started
        console.print(f"[bold]Done in {seconds:.0f} s.[/] Picture: {picture}")
        if _keep():
            console.print(f"Docs: {url}/docs")
            console.print("The service stays up; Ctrl+C ends it.")
            _wait()


def _recipe(name: str) -> Recipe:
    """Return a recipe of the zoo's, with at most $EPOCHS epochs where that is set."""
    recipe = Recipe.read(RECIPES / f"{name}.toml")
    epochs = min(recipe.fit.epochs, int(os.environ.get("EPOCHS", recipe.fit.epochs)))
    fit = recipe.fit.model_copy(update={"epochs": epochs})
    return recipe.model_copy(update={"fit": fit})


def _keep() -> bool:
    return os.environ.get("KEEP", "1") != "0" and sys.stdout.isatty()


def _wait() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("Stopping.")


def _forecast(url: str, recipe: Recipe) -> tuple[ModelCard, np.ndarray, dict[str, Any]]:
    """Ask for forecasts from the last steps of the data, in three lengths, and print them."""
    series = read_table(recipe.data).series[0]
    card = ModelCard.model_validate(httpx.get(f"{url}/v1/models/{recipe.name}/card").json())
    lengths = (card.max_length, (card.min_length + card.max_length) // 2, card.min_length)
    body = {"sequences": [_sequence(series.times, series.values[:, 0], n) for n in lengths]}
    answer = httpx.post(f"{url}/v1/models/{recipe.name}/predict", json=body)
    answer.raise_for_status()
    predictions = answer.json()["predictions"]
    console.print(forecast_table(card, lengths, predictions))
    history = series.values[-card.max_length :, 0]
    _plot(card, history, predictions[0])
    return card, history, predictions[0]


def _sequence(times: np.ndarray, values: np.ndarray, length: int) -> dict[str, Any]:
    numbers = [None if np.isnan(value) else float(value) for value in values[-length:]]
    start = f"{times[-length]!s:.19}Z"
    return {"id": f"last {length} steps", "start": start, "values": numbers}


def forecast_table(
    card: ModelCard, lengths: Sequence[int], predictions: list[dict[str, Any]]
) -> Table:
    """Return the median and the 80 % interval of each step, a column for each length."""
    unit = card.units.get(card.targets[0], "")
    table = Table(
        title=f"{card.name}: {card.targets[0]} ({unit})",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,  # and no padding there: three columns of intervals fit into 80
        pad_edge=False,
    )
    table.add_column("time")
    for length in lengths:
        table.add_column(f"from {length} steps", justify="right")
    for step, moment in enumerate(predictions[0]["timestamps"]):
        cells = (_cell(prediction["quantiles"], step) for prediction in predictions)
        table.add_row(moment[:10], *cells)
    return table


def _cell(quantiles: dict[str, list[float]], step: int) -> str:
    low, middle, high = (quantiles[level][step] for level in ("0.1", "0.5", "0.9"))
    return f"{middle:.1f} ({low:.1f}..{high:.1f})"


def _plot(card: ModelCard, history: np.ndarray, prediction: dict[str, Any]) -> None:
    shown = history[-3 * card.horizon :]
    ahead = list(range(len(shown), len(shown) + card.horizon))
    plotext.clear_figure()
    plotext.plot_size(min(console.width, 100), 16)
    plotext.plot([float(value) for value in shown], label="history")
    for level in ("0.1", "0.5", "0.9"):
        plotext.plot(ahead, prediction["quantiles"][level], label=level)
    plotext.theme("clear")
    drawing = plotext.build()
    print(drawing if sys.stdout.isatty() else plotext.uncolorize(drawing))  # noqa: T201


def _picture(forecasts: list[tuple[ModelCard, np.ndarray, dict[str, Any]]]) -> Path:
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  after the backend is chosen

    figure, axes = plt.subplots(len(forecasts), figsize=(9, 3 * len(forecasts)))
    for axis, (card, history, prediction) in zip(axes, forecasts, strict=True):
        ahead = range(len(history), len(history) + card.horizon)
        quantiles = prediction["quantiles"]
        axis.plot(history, color="black", linewidth=1)
        axis.fill_between(ahead, quantiles["0.1"], quantiles["0.9"], alpha=0.3)
        axis.plot(ahead, quantiles["0.5"])
        axis.set_title(card.description)
        axis.set_ylabel(card.units.get(card.targets[0], ""))
    figure.tight_layout()
    path = OUTPUT / "forecasts.png"
    figure.savefig(path, dpi=120)
    return path


if __name__ == "__main__":
    main()
