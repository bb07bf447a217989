"""Say what a run found, for a terminal."""

from collections.abc import Mapping

from rich import box
from rich.table import Table
from rich.text import Text

from models.accuracy import SEASONAL_NAIVE, Accuracy, BaselineAccuracy, TargetAccuracy
from models.contract import ModelCard


def accuracy_table(card: ModelCard) -> Table:
    """Return the held-out errors per target, beside repeating the last season and the others."""
    accuracy = card.accuracy
    if not isinstance(accuracy, Accuracy):
        raise ValueError("The card holds no accuracy of a forecaster.")  # noqa: TRY004
    span = f"{accuracy.start:%Y-%m-%d} to {accuracy.end:%Y-%m-%d}"
    table = Table(
        title=f"{card.name}: {accuracy.windows:,} windows never seen, {span}",
        title_justify="left",
        caption=Text(_caption(accuracy)) if _caption(accuracy) else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    # A narrow terminal breaks names, never figures.
    table.add_column("target", overflow="fold", min_width=4)
    for column in ("MAE", "naive", "ratio", "RMSE", "naive", "quantile\nloss", "coverage"):
        table.add_column(column, justify="right", no_wrap=True)
    for target, found in accuracy.targets.items():
        unit = card.units.get(target)
        table.add_row(f"{target} ({unit})" if unit else target, *_figures(found))
    return table


def _figures(found: TargetAccuracy) -> list[str]:
    naive = found.baselines.get(SEASONAL_NAIVE)
    return [
        f"{found.mae:.4g}",
        f"{naive.mae:.4g}" if naive else "-",
        _ratio(naive),
        f"{found.rmse:.4g}",
        f"{naive.rmse:.4g}" if naive else "-",
        "-" if found.weighted_quantile_loss is None else f"{found.weighted_quantile_loss:.4f}",
        f"{found.coverage:.0%} of {found.nominal_coverage:.0%}",
    ]


def _caption(accuracy: Accuracy) -> str:
    lines = []
    for target, found in accuracy.targets.items():
        if found.spread and found.by_step:
            first, last = (_number(found.by_step.mae[at]) for at in (0, -1))
            lines.append(
                f"{target}: MAE ± {found.spread.std:.4g} over windows, {first} at the first step, "
                f"{last} at the last{_others(found.baselines)}"
            )
    if accuracy.loses_to:
        lines.append(f"It has larger errors than {', '.join(accuracy.loses_to)}.")
    return "\n".join(lines)


def _others(baselines: Mapping[str, BaselineAccuracy]) -> str:
    others = {name: each for name, each in baselines.items() if name != SEASONAL_NAIVE}
    return "".join(f"; {_ratio(each)} of {name}'s {each.mae:.4g}" for name, each in others.items())


def _ratio(errors: BaselineAccuracy | None) -> str:
    return "-" if errors is None or errors.mae_ratio is None else f"{errors.mae_ratio:.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
