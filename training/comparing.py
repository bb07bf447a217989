"""``seqserve compare``: the command line of a comparison."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from training.classify.recipe import ClassifyRecipe, read_recipe
from training.cli import FOLDER, recipe_from, refuse_both
from training.cli import train as train_command
from training.comparison import Comparison, Report
from training.comparison import compare as run
from training.contenders import KINDS, contenders
from training.data import read_table
from training.errors import RecipeError, TrainingError
from training.pipeline import decided
from training.plots import draw
from training.recipe import Recipe
from training.standings import tables, write
from training.windows import split

_OTHERWISE = (
    "recipe",
    "network",
    "name",
    "label",
    "models",
    "checkpoints",
    "resume",
    "quiet",
    "anyway",
)
_NETWORKS = "lstm,gru,attention"


def _with_options_of_train(command: click.Command) -> click.Command:
    """Add what says which table is learnt from, and how; a new option of train comes along."""
    own = {each.name for each in command.params} | set(_OTHERWISE) | {"data"}
    command.params += [each for each in train_command.params if each.name not in own]
    return command


def _networks(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if unknown := set(kinds) - set(KINDS):
        raise click.BadParameter(
            f"there is no {', '.join(sorted(unknown))}; write some of {', '.join(KINDS)}, or none"
        )
    return kinds


@_with_options_of_train
@click.command()
@click.argument("data")
@click.option("--networks", default=_NETWORKS, show_default=True, callback=_networks)
@click.option("--origins", type=click.IntRange(1), default=50, show_default=True)
@click.option("--output", type=FOLDER, default="comparison", show_default="./comparison")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def compare(  # noqa: PLR0913  one argument an option
    ctx: click.Context,
    /,
    data: str,
    networks: tuple[str, ...],
    origins: int,
    output: Path,
    *,
    quiet: bool,
    **options: object,
) -> None:
    """
    Compare classical methods and networks on DATA.

    DATA is a recipe (.toml), or a table with the options of train.  Everything is fitted once on
    the training part and forecasts the test part from the same origins, spread evenly.
    """
    console = Console(markup=False, highlight=False)
    try:
        recipe = _recipe(ctx, data, options)
        table = read_table(recipe.data)
        recipe = decided(recipe, table)
        parts = split(table, recipe)
        with tempfile.TemporaryDirectory(prefix="seqserve-compare-") as checkpoints:
            run_all = contenders(
                recipe,
                table,
                parts,
                networks=networks,
                checkpoints=Path(checkpoints),
                progress=not quiet,
            )
            with shown_progress(quiet=quiet) as report:
                found = run(recipe, parts, run_all, origins=origins, report=report)
        _write(found, output)
    except (TrainingError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    for each in tables(found):
        console.print(each)
    console.print(f"Written to {output}", soft_wrap=True)


def _recipe(ctx: click.Context, data: str, options: dict[str, object]) -> Recipe:
    if data.endswith(".toml"):
        refuse_both(ctx, options)
        recipe = read_recipe(Path(data))
        if isinstance(recipe, ClassifyRecipe):
            raise RecipeError(f"{data}: classifies, and only forecasts are compared.")
        return recipe
    given = options | {"data": data, "network": None, "name": None}
    return recipe_from(given)


def _write(comparison: Comparison, folder: Path) -> None:
    if all(each.absent for each in comparison.outcomes):
        reasons = "\n".join(f"  {each.name}: {each.absent}" for each in comparison.outcomes)
        raise RecipeError(f"Nothing could forecast this table.\n{reasons}")
    folder.mkdir(parents=True, exist_ok=True)
    write(comparison, folder, draw(comparison, folder))


@contextmanager
def shown_progress(*, quiet: bool) -> Iterator[Report]:
    """Yield a report that shows one line a contender, of origins forecast, on stderr."""
    shown: dict[str, tuple[Progress, TaskID]] = {}

    def report(name: str, done: int, total: int) -> None:
        if done == 0:
            shown[name] = _line(name, total)
            return
        progress, task = shown[name]
        progress.start()  # only now: while it fits, a network shows its own progress
        progress.update(task, completed=done)
        if done == total:
            progress.stop()

    try:
        yield (lambda _name, _done, _total: None) if quiet else report
    finally:  # also of an interrupt: a line that lives on hides the cursor
        for progress, _ in shown.values():
            progress.stop()


def _line(name: str, total: int) -> tuple[Progress, TaskID]:
    progress = Progress(
        TextColumn("{task.description:22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    return progress, progress.add_task(name, total=total)
