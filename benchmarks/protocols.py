"""The published protocols: which windows are scored, and in which units; trains nothing."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from models.quantiles import mean_weights
from training.networks import Scaling
from training.recipe import MEDIAN, Recipe
from training.windows import Batch, Rows, Windows

Answer = Callable[[Batch], NDArray[np.float32]]  # -> (batch, horizon, targets, quantiles)
Float = NDArray[np.float64]
_MOST = 20  # windows of a series in the quantile protocol
_BATCH = 256


def standardised(
    windows: Windows, answer: Answer, recipe: Recipe, scaling: Scaling
) -> dict[str, float]:
    """
    Return MSE and MAE over all windows, steps and targets, in deviations of the training part.

    MSE is of the mean forecast and MAE of the median; with one quantile they are the same.
    """
    scale = scaling.scale[: windows.targets].astype(np.float64)
    squares = absolutes = count = 0.0
    for _, actual, forecast in _forecasts(windows, np.arange(len(windows)), answer):
        mean, median = _points(forecast, recipe)
        squares += float((((actual - mean) / scale) ** 2).sum())
        absolutes += float(np.abs((actual - median) / scale).sum())
        count += actual.size
    return {"mse": squares / count, "mae": absolutes / count}


def absolute(windows: Windows, answer: Answer, recipe: Recipe, _: Scaling) -> dict[str, float]:
    """Return the MAE over all windows, in the data's units."""
    total = count = 0.0
    for _rows, actual, forecast in _forecasts(windows, np.arange(len(windows)), answer):
        total += float(np.abs(actual - _points(forecast, recipe)[1]).sum())
        count += actual.size
    return {"mae": total / count}


def rolling_quantiles(
    windows: Windows, answer: Answer, recipe: Recipe, _: Scaling
) -> dict[str, float]:
    """
    Return MASE, the weighted quantile loss, and the coverage of 0.1 to 0.9, as GIFT-Eval does.

    That is over the last windows without overlap, at most 20, every target a series of its own.
    MASE has seasonal naive's error over all that lies before the window as its scale; the loss
    is 2 * sum(pinball) / sum(|actual|), averaged over the levels.
    """
    rows = _apart(windows)
    season, levels = recipe.seasonality, np.asarray(recipe.quantiles)
    ratios, pinball, size, inside = [], np.zeros(len(levels)), 0.0, []
    for part, actual, forecast in _forecasts(windows, rows, answer):
        median = _points(forecast, recipe)[1]
        error = np.abs(actual - median).mean(1)
        ratios.append(error / _seasonal_errors(windows, part, season))
        signed = actual[..., None] - forecast
        pinball += np.maximum(levels * signed, (levels - 1) * signed).sum((0, 1, 2))
        size += float(np.abs(actual).sum())
        low, high = (forecast[..., recipe.quantiles.index(level)] for level in (0.1, 0.9))
        inside.append((actual >= low) & (actual <= high))
    return {
        "mase": float(np.concatenate(ratios).mean()),
        "weighted_quantile_loss": float((2 * pinball / size).mean()),
        "coverage": float(np.concatenate(inside).mean()),
    }


def competition(windows: Windows, answer: Answer, recipe: Recipe, _: Scaling) -> dict[str, float]:
    """Return the MASE of the last window of each series, averaged over the series, as M4 does."""
    last = np.flatnonzero(np.append(np.diff(windows.first) != 0, True))
    ratios = []
    for part, actual, forecast in _forecasts(windows, last, answer):
        error = np.abs(actual - _points(forecast, recipe)[1]).mean(1)
        ratios.append(error / _seasonal_errors(windows, part, recipe.seasonality))
    return {"mase": float(np.concatenate(ratios).mean()), "series": float(len(last))}


def _apart(windows: Windows) -> Rows:
    """Choose windows a horizon apart, the last ones of the part, in order."""
    chosen: Rows = np.arange(len(windows) - 1, -1, -windows.horizon)[:_MOST][::-1]
    return chosen


def _seasonal_errors(windows: Windows, rows: Rows, season: int) -> Float:
    """Return (rows, targets): seasonal naive's mean error over each window's whole past."""
    errors = []
    for row in rows:
        past = windows.values[windows.first[row] : windows.origins[row] + 1, : windows.targets]
        errors.append(np.abs(past[season:] - past[:-season]).mean(0, dtype=np.float64))
    return np.array(errors)


def _forecasts(windows: Windows, rows: Rows, answer: Answer) -> Iterator[tuple[Rows, Float, Float]]:
    """Yield rows, actuals (rows, horizon, targets) and forecasts with quantiles, in float64."""
    for part, batch in windows.batches(rows, _BATCH):
        yield part, batch.actuals.astype(np.float64), answer(batch).astype(np.float64)


def _points(forecast: Float, recipe: Recipe) -> tuple[Float, Float]:
    """Return the mean and the median of a forecast."""
    median: Float = forecast[..., recipe.quantiles.index(MEDIAN)]
    mean: Float = forecast @ mean_weights(recipe.quantiles)
    return mean, median
