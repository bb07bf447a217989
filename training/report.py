"""Say what a run found, for a terminal."""

from rich import box
from rich.table import Table

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
        table.add_row(
            f"{target} ({unit})" if unit else target,
            f"{found.mae:.4g}",
            f"{found.seasonal_naive_mae:.4g}",
            f"{found.mae / found.seasonal_naive_mae:.2f}" if found.seasonal_naive_mae else "-",
            f"{found.rmse:.4g}",
            f"{found.seasonal_naive_rmse:.4g}",
            f"{found.weighted_quantile_loss:.4f}",
            f"{found.coverage:.0%} of {found.nominal_coverage:.0%}",
        )
    return table
