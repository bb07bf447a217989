"""What a network must beat: repeating the last season; knows nothing of networks."""

import numpy as np
from numpy.typing import NDArray

from training.windows import Rows, Windows


def seasonal_naive(windows: Windows, rows: Rows, season: int) -> NDArray[np.float32]:
    """
    Repeat the last season known at each origin, (batch, horizon, targets).

    Where that value is missing, the same place one season earlier is taken, and so on over the
    whole history; then the last value observed; NaN where the series was never observed.
    """
    origins, first = windows.origins[rows], windows.first[rows]
    place = np.arange(windows.horizon) % season - season + 1  # relative to the origin
    index = origins[:, None] + place  # (batch, horizon)
    forecast = _take(windows, index, first)
    while np.isnan(forecast).any() and (index >= first[:, None]).any():
        index = index - season
        forecast = np.where(np.isnan(forecast), _take(windows, index, first), forecast)
    if np.isnan(forecast).any():
        last = _last_observed(windows, origins, first)[:, None]
        forecast = np.where(np.isnan(forecast), last, forecast)
    return forecast


def _take(windows: Windows, index: Rows, first: Rows) -> NDArray[np.float32]:
    inside = index >= first[:, None]
    taken = windows.values[np.where(inside, index, 0)][..., : windows.targets]
    return np.where(inside[..., None], taken, np.float32(np.nan))


def _last_observed(windows: Windows, origins: Rows, first: Rows) -> NDArray[np.float32]:
    found = np.full((len(origins), windows.targets), np.nan, dtype=np.float32)
    for row, (start, end) in enumerate(zip(first, origins + 1, strict=True)):
        history = windows.values[start:end, : windows.targets]
        for target in range(windows.targets):
            observed = np.flatnonzero(~np.isnan(history[:, target]))
            if len(observed):
                found[row, target] = history[observed[-1], target]
    return found
