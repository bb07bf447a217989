"""The seasonal naive forecast, and its error, which is the scale of MASE."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Rows = NDArray[np.int64]


def seasonal_naive(values: Array, origins: Rows, first: Rows, horizon: int, season: int) -> Array:
    """
    Repeat the last season before each origin: (origins, horizon, targets).

    ``values`` (steps, targets) may hold several series; ``first`` is the first step of each
    origin's series.  Where a value is missing, the one a season earlier is taken, and so on over
    the whole history; after that the last value observed; NaN where there is none.
    """
    index = origins[:, None] + np.arange(horizon) % season - season + 1  # (origins, horizon)
    inside = index >= first[:, None]
    forecast = values[np.where(inside, index, 0)]
    forecast[~inside] = np.nan
    gappy = np.isnan(forecast).any(axis=(1, 2))
    if gappy.any():
        gaps = forecast[gappy]
        history = _History(values, origins[gappy], first[gappy])
        for places, period in ((index[gappy], season), (origins[gappy, None], 1)):
            gaps = np.where(np.isnan(gaps), history.latest(places, period), gaps)
        forecast[gappy] = gaps
    return forecast


def seasonal_error(values: Array, season: int) -> NDArray[np.float64]:
    """Return the mean |y(t) - y(t - season)| of a series (steps, targets); NaN where unknown."""
    change = np.abs(np.subtract(values[season:], values[:-season], dtype=np.float64))
    known = np.isfinite(change)
    count = known.sum(axis=0)
    total: NDArray[np.float64] = change.sum(axis=0, where=known)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


class _History:
    """The part of ``values`` before some origins, from the first start of their series on."""

    def __init__(self, values: Array, origins: Rows, first: Rows) -> None:
        self._begin = int(first.min())
        self._values = values[self._begin : int(origins.max()) + 1]
        self._first = first - self._begin

    def latest(self, places: Rows, period: int) -> Array:
        """
        Return the last value observed at ``places`` (origins, n) or whole periods before them.

        (origins, n, targets); NaN where the origin's series has none.
        """
        steps, targets = self._values.shape
        places = places - self._begin
        seen = np.where(np.isnan(self._values), -1, np.arange(steps)[:, None])
        seen = np.pad(seen, ((0, -steps % period), (0, 0)), constant_values=-1)
        seen = np.maximum.accumulate(seen.reshape(-1, period, targets)).reshape(-1, targets)
        found = np.where(places[..., None] < 0, -1, seen[places])  # (origins, n, targets)
        values = self._values[found, np.arange(targets)]
        return np.where(found >= self._first[:, None, None], values, np.float32(np.nan))
