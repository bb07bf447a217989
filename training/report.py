"""Say what a run found, for a terminal."""

from rich import box
from rich.table import Table

from models.accuracy import SEASONAL_NAIVE, TargetAccuracy
from models.contract import ModelCard


def accuracy_table(card: ModelCard) -> Table:
    """Return the held-out errors per target, beside repeating the last season."""
    accuracy = card.accuracy
    if accuracy is None:
        raise ValueError("The card holds no accuracy.")
    span = f"{accuracy.start:%Y-%m-%d} to {accuracy.end:%Y-%m-%d}"
    table = Table(
        title=f"{card.name}: {accuracy.windows:,} windows never seen, {span}",
        title_justify="left",
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
    ratio = naive.mae_ratio if naive else None
    return [
        f"{found.mae:.4g}",
        f"{naive.mae:.4g}" if naive else "-",
        "-" if ratio is None else f"{ratio:.2f}",
        f"{found.rmse:.4g}",
        f"{naive.rmse:.4g}" if naive else "-",
        f"{found.weighted_quantile_loss:.4f}",
        f"{found.coverage:.0%} of {found.nominal_coverage:.0%}",
    ]
