"""A comparison as a table: for the terminal, as Markdown and as CSV."""

import csv
from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.table import Table

from training.comparison import Comparison, Outcome

_COLUMNS = (
    "target",
    "method",
    "mae",
    "rmse",
    "mase",
    "weighted_quantile_loss",
    "coverage",
    "nominal_coverage",
    "own_intervals",
    "fit_seconds",
    "forecast_seconds",
    "absent",
)
_NOTE = (
    "MASE is the error over that of seasonal naive one season ahead, before the test part. "
    "Intervals marked * are a method's errors on the validation part; the others are its own."
)


def tables(comparison: Comparison) -> Iterator[Table]:
    """Yield one table a target, the best first, those without a forecast last."""
    for number, target in enumerate(comparison.recipe.data.targets):
        table = Table(
            title=_title(comparison, target),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),  # all of it fits into 80
            caption=_NOTE,
            caption_justify="left",
        )
        table.add_column("method", no_wrap=True)
        for column in _head(comparison):
            table.add_column(column, justify="right", no_wrap=True)
        for outcome in ranked(comparison, number):
            table.add_row(outcome.name, *_cells(outcome, number))
        yield table
    if absent := [each for each in comparison.outcomes if each.absent]:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.add_column("method", overflow="fold", min_width=8)
        table.add_column("no forecast", overflow="fold")
        for outcome in absent:
            table.add_row(outcome.name, outcome.absent)
        yield table


def write(comparison: Comparison, folder: Path, pictures: list[str]) -> None:
    """Write ``comparison.md``, which shows the pictures, and ``comparison.csv``."""
    (folder / "comparison.md").write_text(
        "\n".join(_markdown(comparison, pictures)) + "\n", encoding="utf-8"
    )
    with (folder / "comparison.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(_records(comparison))


def ranked(comparison: Comparison, target: int) -> list[Outcome]:
    """Return those with a forecast, the least absolute error first."""
    there = [each for each in comparison.outcomes if not each.absent]
    return sorted(there, key=lambda each: each.scores[target].mae)


def _head(comparison: Comparison) -> tuple[str, ...]:
    levels = comparison.recipe.quantiles
    within = f"within\n{levels[-1] - levels[0]:.0%}"
    return "MAE", "RMSE", "MASE", "quantile\nloss", within, "s to\nfit", "s to\nask"


def _title(comparison: Comparison, target: str) -> str:
    windows = comparison.windows
    start = windows.clock[windows.origins + 1].min()
    end = windows.clock[windows.origins + windows.horizon].max()
    unit = comparison.recipe.data.units.get(target)
    return (
        f"{target}{f' ({unit})' if unit else ''}, {windows.horizon} steps ahead from "
        f"{len(windows)} origins, {start!s:.10} to {end!s:.10}"
    )


def _cells(outcome: Outcome, target: int) -> tuple[str, ...]:
    found = outcome.scores[target]
    return (
        f"{found.mae:.4g}",
        f"{found.rmse:.4g}",
        "-" if found.mase is None else f"{found.mase:.3f}",
        "-" if found.weighted_quantile_loss is None else f"{found.weighted_quantile_loss:.4f}",
        f"{found.coverage:.0%}{' ' if outcome.own_intervals else '*'}",
        f"{outcome.fit_seconds:.1f}",
        f"{outcome.forecast_seconds:.1f}",
    )


def _markdown(comparison: Comparison, pictures: list[str]) -> Iterator[str]:
    head = _head(comparison)
    yield f"# {comparison.recipe.data.source.rsplit('/', 1)[-1]}"
    for number, target in enumerate(comparison.recipe.data.targets):
        yield f"\n## {_escaped(_title(comparison, target))}\n"
        yield f"| method | {' | '.join(head)} |".replace("\n", " ")
        yield "|---" + "|---:" * len(head) + "|"
        for outcome in ranked(comparison, number):
            yield f"| {outcome.name} | {' | '.join(_cells(outcome, number))} |"
    yield f"\n{_escaped(_NOTE)}"
    if absent := [each for each in comparison.outcomes if each.absent]:
        yield "\n| method | no forecast |\n|---|---|"
        for outcome in absent:
            yield f"| {outcome.name} | {_escaped(outcome.absent)} |"
    for picture in pictures:
        yield f"\n![{picture.removesuffix('.png')}]({picture})"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def _records(comparison: Comparison) -> Iterator[tuple[object, ...]]:
    levels = comparison.recipe.quantiles
    nominal = round(levels[-1] - levels[0], 6)
    for number, target in enumerate(comparison.recipe.data.targets):
        for outcome in ranked(comparison, number):
            found = outcome.scores[number]
            yield (
                target,
                outcome.name,
                found.mae,
                found.rmse,
                found.mase,
                found.weighted_quantile_loss,
                found.coverage,
                nominal,
                outcome.own_intervals,
                round(outcome.fit_seconds, 3),
                round(outcome.forecast_seconds, 3),
                "",
            )
        for outcome in comparison.outcomes:
            if outcome.absent:
                yield (target, outcome.name, *[""] * 9, outcome.absent)
