"""Repeating the last season, which needs no library and learns nothing."""

import numpy as np
from numpy.typing import NDArray

from models import seasonal
from training.baselines.forecast import Forecast
from training.recipe import Recipe
from training.windows import Rows, Windows


class SeasonalNaive:
    """The last season again; the yardstick of every other forecast."""

    name = "seasonal naive"
    pooled = True

    def __init__(self, recipe: Recipe) -> None:
        self.season = recipe.seasonality

    def fit(self, train: Windows, validation: Windows) -> None:
        """Learn nothing."""

    def forecast(self, windows: Windows, rows: Rows) -> Forecast:
        """Repeat the last season."""
        return Forecast(seasonal_naive(windows, rows, self.season).astype(np.float64))


def seasonal_naive(windows: Windows, rows: Rows, season: int) -> NDArray[np.float32]:
    """Repeat the last season known at each origin, (batch, horizon, targets)."""
    return seasonal.seasonal_naive(
        windows.values[:, : windows.targets],
        windows.origins[rows],
        windows.first[rows],
        windows.horizon,
        season,
    )
