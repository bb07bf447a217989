"""Measure a forecaster and baselines on held-out windows."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.accuracy import SEASONAL_NAIVE, Accuracy
from models.scores import Scores
from models.seasonal import seasonal_error
from training.baselines import seasonal_naive
from training.errors import NonFiniteAnswer
from training.examples import Examples
from training.recipe import Recipe
from training.windows import Batch, Rows, Windows

ForecastFunction = Callable[[Batch], NDArray[np.float32]]  # -> (batch, horizon, targets, quantiles)
BaselineFunction = Callable[[Windows, Rows], NDArray[np.float32]]  # -> (batch, horizon, targets)

_NO_MORE: Mapping[str, BaselineFunction] = MappingProxyType({})


def measure(
    windows: Windows,
    forecaster: ForecastFunction,
    recipe: Recipe,
    *,
    baselines: Mapping[str, BaselineFunction] = _NO_MORE,
    batch_size: int = 256,
) -> Accuracy:
    """
    Forecast every window once, from all the steps it has, and return errors in the data's units.

    Each baseline forecasts the same windows, NaN where it has no forecast; seasonal naive is
    always among them.  Missing actuals are skipped.  Raises NonFiniteAnswer for a forecast that
    is not finite.
    """
    scores, scale = Scores(recipe.quantiles), scales(windows, recipe.seasonality)
    examples = Examples(windows)
    count = len(windows)
    for rows, batch in windows.batches(np.arange(count), batch_size):
        naive = seasonal_naive(windows, rows, recipe.seasonality)
        forecast = forecaster(batch)
        if not np.isfinite(forecast).all():
            raise NonFiniteAnswer
        others = {name: answer(windows, rows) for name, answer in baselines.items()}
        scores.add(batch.actuals, forecast, {SEASONAL_NAIVE: naive} | others, scale[rows])
        examples.keep(rows, batch.actuals, forecast, naive)
    return Accuracy(
        windows=count,
        season=recipe.seasonality,
        start=_utc(windows.times(np.arange(count)).min()),
        end=_utc(windows.clock[windows.origins + windows.horizon].max()),
        targets={
            name: found.model_copy(update={"examples": examples.of(number)})
            for number, (name, found) in enumerate(
                zip(recipe.data.targets, scores.targets(), strict=True)
            )
            if found is not None
        },
        loses_to=scores.loses_to(),
    )


def scales(windows: Windows, season: int) -> NDArray[np.float64]:
    """
    Return the scale of MASE, (windows, targets).

    It is seasonal naive's mean absolute error in the window's series up to the series' first
    origin among these windows (Hyndman and Koehler 2006); NaN where unknown.
    """
    first, series = np.unique(windows.first, return_inverse=True)
    until = np.full(len(first), len(windows.values))
    np.minimum.at(until, series, windows.origins + 1)
    values = windows.values[:, : windows.targets]
    pairs = zip(first, until, strict=True)
    scales = np.stack([seasonal_error(values[start:end], season) for start, end in pairs])
    return scales[series]


def _utc(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)
