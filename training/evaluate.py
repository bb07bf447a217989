"""Measure a forecaster on held-out windows, beside seasonal naive; trains nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.contract import Accuracy, TargetAccuracy
from models.quantiles import mean_weights
from training.baselines import seasonal_naive
from training.errors import TrainingError
from training.recipe import MEDIAN, Recipe
from training.windows import Batch, Windows

Forecaster = Callable[[Batch], NDArray[np.float32]]  # -> (batch, horizon, targets, quantiles)
Sums = NDArray[np.float64]  # (targets,)


@dataclass(slots=True)
class _Totals:
    """Sums over windows and steps, per target."""

    sums: dict[str, Sums] = field(default_factory=dict)

    def add(
        self, name: str, values: NDArray[np.floating] | NDArray[np.bool_], where: NDArray[np.bool_]
    ) -> None:
        """Add values (batch, horizon, targets) where they are to count."""
        total: Sums = np.sum(values, axis=(0, 1), dtype=np.float64, where=where)
        self.sums[name] = self.sums[name] + total if name in self.sums else total


def measure(
    windows: Windows, forecaster: Forecaster, recipe: Recipe, *, batch_size: int = 256
) -> Accuracy:
    """
    Forecast every window once from all the steps it has, and compare in the data's units.

    A missing actual counts for nothing.  Raise TrainingError for a forecast that is not finite.
    """
    totals, count = _Totals(), len(windows)
    for start in range(0, count, batch_size):
        rows = np.arange(start, min(start + batch_size, count))
        batch = windows.batch(rows, windows.available(rows))
        naive = seasonal_naive(windows, rows, recipe.seasonality)
        forecast = forecaster(batch)
        if not np.isfinite(forecast).all():
            raise TrainingError(
                "The network answers with numbers that are not finite.\n"
                "  Look for extreme values in the table, or lower learning_rate."
            )
        _compare(totals, batch.actuals.astype(np.float64), forecast, naive, recipe.quantiles)
    starts = windows.times(np.arange(count))
    accuracies = _accuracies(totals.sums, recipe.quantiles)
    return Accuracy(
        windows=count,
        season=recipe.seasonality,
        start=_utc(starts.min()),
        end=_utc(windows.clock[windows.origins + windows.horizon].max()),
        targets=dict(zip(recipe.data.targets, accuracies, strict=True)),
    )


def _compare(
    totals: _Totals,
    actuals: NDArray[np.float64],  # squares of large numbers do not fit float32
    forecast: NDArray[np.float32],
    naive: NDArray[np.float32],
    levels: tuple[float, ...],
) -> None:
    known = np.isfinite(actuals)
    compared = known & np.isfinite(naive)
    error = actuals - forecast[..., levels.index(MEDIAN)]
    mean_error = actuals - forecast @ mean_weights(levels)
    inside = (actuals >= forecast[..., 0]) & (actuals <= forecast[..., -1])
    signed = actuals[..., None] - forecast
    level = np.asarray(levels)
    pinball = np.maximum(level * signed, (level - 1) * signed).mean(-1)
    totals.add("count", known, known)
    totals.add("compared", compared, compared)
    totals.add("absolute", np.abs(error), known)
    totals.add("squared", mean_error**2, known)
    totals.add("inside", inside, known)
    totals.add("pinball", pinball, known)
    totals.add("size", np.abs(actuals), known)
    totals.add("naive_absolute", np.abs(actuals - naive), compared)
    totals.add("naive_squared", (actuals - naive) ** 2, compared)


def _accuracies(sums: dict[str, Sums], levels: tuple[float, ...]) -> list[TargetAccuracy]:
    """Turn sums into the errors; see TargetAccuracy for each one's formula."""
    count, compared = np.maximum(sums["count"], 1), np.maximum(sums["compared"], 1)
    columns = {
        "mae": sums["absolute"] / count,
        "rmse": np.sqrt(sums["squared"] / count),
        "weighted_quantile_loss": 2 * sums["pinball"] / np.maximum(sums["size"], 1e-12),
        "coverage": sums["inside"] / count,
        "seasonal_naive_mae": sums["naive_absolute"] / compared,
        "seasonal_naive_rmse": np.sqrt(sums["naive_squared"] / compared),
    }
    nominal = round(levels[-1] - levels[0], 6)
    return [
        TargetAccuracy(
            nominal_coverage=nominal, **{name: float(column[i]) for name, column in columns.items()}
        )
        for i in range(len(count))
    ]


def _utc(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)
