"""Repeating the last season: the forecast that any model must beat, and the scale of MASE."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Rows = NDArray[np.int64]


def seasonal_naive(values: Array, origins: Rows, first: Rows, horizon: int, season: int) -> Array:
    """
    Repeat the last season known at each origin, (origins, horizon, targets).

    ``values`` (steps, targets) may hold several series; ``first`` is where each origin's begins.
    Where that value is missing, the same place one season earlier is taken, and so on over the
    whole history; then the last value observed; NaN where the series was never observed.
    """
    place = np.arange(horizon) % season - season + 1  # relative to the origin
    index = origins[:, None] + place  # (origins, horizon)
    forecast = _take(values, index, first)
    while np.isnan(forecast).any() and (index >= first[:, None]).any():
        index = index - season
        forecast = np.where(np.isnan(forecast), _take(values, index, first), forecast)
    if np.isnan(forecast).any():
        last = _last_observed(values, origins, first)[:, None]
        forecast = np.where(np.isnan(forecast), last, forecast)
    return forecast


def seasonal_error(values: Array, season: int) -> NDArray[np.float64]:
    """Return the mean |y(t) - y(t - season)| of a series (steps, targets); NaN where unknown."""
    change = np.abs(np.subtract(values[season:], values[:-season], dtype=np.float64))
    known = np.isfinite(change)
    count = known.sum(axis=0)
    total: NDArray[np.float64] = change.sum(axis=0, where=known)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _take(values: Array, index: Rows, first: Rows) -> Array:
    inside = index >= first[:, None]
    taken = values[np.where(inside, index, 0)]
    return np.where(inside[..., None], taken, np.float32(np.nan))


def _last_observed(values: Array, origins: Rows, first: Rows) -> Array:
    found = np.full((len(origins), values.shape[1]), np.nan, dtype=np.float32)
    for row, (start, end) in enumerate(zip(first, origins + 1, strict=True)):
        for target in range(values.shape[1]):
            observed = np.flatnonzero(~np.isnan(values[start:end, target]))
            if len(observed):
                found[row, target] = values[start + observed[-1], target]
    return found
