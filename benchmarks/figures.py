"""Train the recipes of the published benchmarks with several seeds, and score them as published."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks import protocols
from benchmarks.tables import prepare
from training.data import read_table
from training.networks import Scaling
from training.pipeline import decided, forecaster, learn, threads
from training.recipe import Recipe
from training.windows import split, training_part

RECIPES = Path(__file__).parent.parent / "training" / "recipes" / "figures"
RESULTS = Path(__file__).parent / "results" / "figures"
CHECKPOINTS = Path(__file__).parent / "models" / "checkpoints"
Protocol = Callable[..., dict[str, float]]
_ASIDE = ("series", "epochs", "seconds")
# By the beginning of a recipe's name.
PROTOCOLS: dict[str, Protocol] = {
    "ettm1-quantiles": protocols.rolling_quantiles,
    "ettm1-hourly": protocols.rolling_quantiles,
    "ett": protocols.standardised,
    "traffic": protocols.absolute,
    "m4": protocols.competition,
}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--seeds", default=3, show_default=True, help="Runs of each, with seeds 0, 1, ...")
@click.option("--again", is_flag=True, help="Train also what has a result already.")
@click.option("--table", is_flag=True, help="Print all results, train nothing.")
def main(names: tuple[str, ...], seeds: int, *, again: bool, table: bool) -> None:
    """Train NAMES, or all, and write a file of results for each into benchmarks/results/figures."""
    if table:
        _print()
        return
    prepare()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names or sorted(path.stem for path in RECIPES.glob("*.toml")):
        for seed in range(seeds):
            path = RESULTS / f"{name}.json"
            found = json.loads(path.read_text()) if path.is_file() else {}
            if str(seed) in found and not again:
                continue
            found[str(seed)] = _run(name, seed)
            path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
            click.echo(f"{name} seed {seed}: {_line(found[str(seed)])}")


def _run(name: str, seed: int) -> dict[str, float]:
    """Train once, and return the protocol's errors, those on validation, and the seconds."""
    recipe = Recipe.read(RECIPES / f"{name}.toml")
    recipe = recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"seed": seed})})
    table = read_table(recipe.data)
    recipe = decided(recipe, table)
    parts = split(table, recipe)
    scaling = Scaling.learn(training_part(table, parts.borders))
    started = time.monotonic()
    with threads(recipe):
        fitted = learn(
            recipe, table, parts, checkpoints=CHECKPOINTS / f"{name}-{seed}", progress=False
        )
        seconds = time.monotonic() - started
        score = next(each for begin, each in PROTOCOLS.items() if name.startswith(begin))
        answer = forecaster(fitted.network)
        errors = score(parts.test, answer, recipe, scaling)
        held = score(parts.validation, answer, recipe, scaling)
    return {
        **{key: round(value, 5) for key, value in errors.items()},
        **{f"validation_{key}": round(value, 5) for key, value in held.items()},
        "epochs": fitted.epochs,
        "seconds": round(seconds, 1),
    }


def _line(result: dict[str, float]) -> str:
    return "  ".join(f"{key} {value:.4g}" for key, value in result.items())


def _print() -> None:
    """Print a row of Markdown for each recipe: mean and deviation over the seeds."""
    click.echo("| recipe | seeds | errors on the test part | seconds a seed |\n|---|---|---|---|")
    for path in sorted(RESULTS.glob("*.json")):
        runs = list(json.loads(path.read_text()).values())
        errors = [key for key in runs[0] if key not in _ASIDE and not key.startswith("validation")]
        cells = ", ".join(f"{key} {_spread([run[key] for run in runs])}" for key in errors)
        seconds = statistics.mean(run["seconds"] for run in runs)
        click.echo(f"| {path.stem} | {len(runs)} | {cells} | {seconds:.0f} |")


def _spread(values: list[float]) -> str:
    around = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{around}"


if __name__ == "__main__":
    main()
