"""``seqserve train``: the command line of a training run."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from models.calendar import Cycle
from models.classification import ClassificationAccuracy
from models.repository import Repository
from training.architecture import Cell
from training.classify.pipeline import train as classify
from training.classify.recipe import ClassifyRecipe, read_recipe
from training.classify.report import class_table
from training.errors import RecipeError, TrainingError
from training.pipeline import Published
from training.pipeline import train as forecast
from training.recipe import Recipe
from training.report import accuracy_table

_OF_FORECASTS = ("target", "freq", "horizon", "known", "calendar", "static", "fill")
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--data", help="Table in long format: .csv, .csv.gz or .parquet.")
@click.option("--time", help="Column of timestamps.")
@click.option("--target", multiple=True, help="Column to forecast; repeat for several.")
@click.option("--freq", help="Distance between rows: 15min, 1h, 1d, 1w, 1mo, ...")
@click.option("--label", help="Classify: the column with the class of each series.")
@click.option("--horizon", type=click.IntRange(1), help="Steps to forecast.")
@click.option("--network", type=click.Choice([*get_args(Cell), "attention"]))
@click.option("--id", "series", help="Column that names the series, if there are several.")
@click.option("--feature", multiple=True, help="Column known up to now; repeat for several.")
@click.option("--known", multiple=True, help="Column known ahead too; repeat for several.")
@click.option(
    "--calendar",
    multiple=True,
    type=click.Choice(get_args(Cycle)),
    help="Cycle of the calendar to make of the times, known ahead; repeat for several.",
)
@click.option("--static", multiple=True, help="Column with one value a series; repeat for several.")
@click.option("--fill", type=click.Choice(["missing", "previous", "linear"]), help="Fill gaps.")
@click.option("--window", type=click.IntRange(1), help="Longest history the model reads, in steps.")
@click.option("--epochs", type=click.IntRange(1), help="At most so many passes over the data.")
@click.option("--seed", type=int, help="Start of all randomness; the same seed, the same model.")
@click.option("--name", help="Name to publish under; the default is the file's and the network's.")
@click.option("--models", type=FOLDER, default="models", show_default="./models")
@click.option("--checkpoints", type=FOLDER, default="checkpoints", show_default="./checkpoints")
@click.option("--anyway", is_flag=True, help="Publish a network that loses to a baseline, too.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def train(  # noqa: PLR0913  one argument an option
    ctx: click.Context,
    /,
    recipe: Path | None,
    models: Path,
    checkpoints: Path,
    *,
    anyway: bool,
    resume: bool,
    quiet: bool,
    **options: object,
) -> None:
    """Train a model from RECIPE, or from the options, and publish it as the next version."""
    console = Console(markup=False, highlight=False)  # a column may be called "load [kW]"
    say = partial(console.print, soft_wrap=True)
    try:
        chosen = read_recipe(recipe) if recipe else _from_options(options)
        if recipe:
            refuse_both(ctx, options)
        say(f"{chosen.name}: a {chosen.network.kind} network on {chosen.data.source}")
        published = _run(
            chosen,
            Repository(models),
            checkpoints=checkpoints,
            resume=resume,
            progress=not quiet,
            anyway=anyway,
            say=say,
        )
    except TrainingError as exc:
        raise click.ClickException(str(exc)) from exc
    found = published.card.accuracy
    if isinstance(found, ClassificationAccuracy):
        console.print(class_table(published.card.name, found))
    else:
        console.print(accuracy_table(published.card))
    _tell(say, published, models)


def _run(recipe: Recipe | ClassifyRecipe, repository: Repository, **how: Any) -> Published:  # noqa: ANN401 -- of both pipelines
    if isinstance(recipe, ClassifyRecipe):
        return classify(recipe, repository, **how)
    return forecast(recipe, repository, **how)


def _from_options(options: dict[str, object]) -> Recipe | ClassifyRecipe:
    return _labelled_from(options) if options["label"] else recipe_from(options)


def recipe_from(options: dict[str, object]) -> Recipe:
    """Build a recipe from the options of the command line; raise RecipeError."""
    needed = {
        "data": "--data",
        "time": "--time",
        "target": "--target",
        "freq": "--freq",
        "horizon": "--horizon",
    }
    missing = [flag for key, flag in needed.items() if not options[key]]
    if missing:
        raise RecipeError(f"Without a recipe, give {', '.join(missing)} too.")
    kind = options["network"] or "gru"
    document = {
        "name": options["name"] or f"{_stem(str(options['data']))}-{kind}",
        "horizon": options["horizon"],
        "max_length": options["window"],
        "data": _given(
            source=options["data"],
            time=options["time"],
            targets=options["target"],
            id=options["series"],
            features=options["feature"],
            known=options["known"],
            calendar=options["calendar"],
            static=options["static"],
            frequency=options["freq"],
            fill=options["fill"],
        ),
        "network": {"kind": kind},
        "fit": _given(epochs=options["epochs"], seed=options["seed"]),
    }
    return Recipe.build(document, "the options")


def _labelled_from(options: dict[str, object]) -> ClassifyRecipe:
    """Build a classifier's recipe from the options of the command line; raise RecipeError."""
    needed = {"data": "--data", "series": "--id", "feature": "--feature"}
    if missing := [flag for key, flag in needed.items() if not options[key]]:
        raise RecipeError(f"With --label, give {', '.join(missing)} too.")
    if other := [f"--{key}" for key in _OF_FORECASTS if options[key]]:
        raise RecipeError(f"With --label, leave out {', '.join(other)}.")
    kind = options["network"] or "gru"
    document = {
        "task": "classify",
        "name": options["name"] or f"{_stem(str(options['data']))}-{kind}",
        "max_length": options["window"],
        "data": _given(
            source=options["data"],
            id=options["series"],
            label=options["label"],
            features=options["feature"],
            time=options["time"],
        ),
        "network": {"kind": kind},
        "fit": _given(epochs=options["epochs"], seed=options["seed"]),
    }
    return ClassifyRecipe.build(document, "the options")


def _stem(source: str) -> str:
    """Return the file's name as a model may be called."""
    stem = Path(source).name.removeprefix("statsmodels:").split(".")[0].lower()
    return re.sub(r"[^a-z0-9_-]+", "-", stem).strip("-_")[:40] or "table"


def _given(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def refuse_both(ctx: click.Context, options: dict[str, object]) -> None:
    """Raise UsageError for options beside a recipe."""
    given = [key for key, value in options.items() if value not in (None, ())]
    if given:
        flags = ", ".join(f"--{'id' if key == 'series' else key}" for key in given)
        raise click.UsageError(f"A recipe decides everything; leave out {flags}.", ctx)


def _tell(say: Callable[[str], None], published: Published, models: Path) -> None:
    card, entry = published.card, published.entry
    parity = card.provenance.parity_error if card.provenance else float("nan")
    say(
        f"ONNX equals torch within {parity:.1e}; published {entry.path} "
        f"({entry.path.stat().st_size / 1000:.0f} kB)"
    )
    say(f"Serve it: seqserve serve --models {models}")
