"""A few held-out windows for the card's picture, chosen before anything is measured."""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.accuracy import Example
from models.scores import rounded
from training.windows import Rows, Windows

PLACES = (1 / 6, 3 / 6, 5 / 6)  # of the held-out windows, in order
MOST_STEPS = 120  # of history, and of a longer horizon the first ones
MOST_TARGETS = 3
LEAST_HISTORY = 24  # steps, where the series has them; more for a horizon that is long


class Examples:
    """
    Collect history, actuals and forecast of a few windows.

    The windows are spread evenly over the held-out ones, whatever their errors.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._chosen = {int(place * len(windows)) for place in PLACES}
        self._steps = min(windows.horizon, MOST_STEPS)
        self._kept: dict[int, tuple[NDArray[np.float32], ...]] = {}

    def keep(
        self,
        rows: Rows,
        actuals: NDArray[np.float32],  # (batch, horizon, targets)
        forecast: NDArray[np.float32],  # (batch, horizon, targets, quantiles)
        naive: NDArray[np.float32],  # (batch, horizon, targets)
    ) -> None:
        """Keep those of these windows that were chosen."""
        for place, row in enumerate(rows.tolist()):
            if row in self._chosen:
                all_steps = actuals[place], forecast[place], naive[place]
                self._kept[row] = tuple(each[: self._steps].copy() for each in all_steps)

    def of(self, target: int) -> tuple[Example, ...]:
        """Return the examples of a target, in the order of time; none beyond the third target."""
        if target >= MOST_TARGETS:
            return ()
        return tuple(self._example(row, target) for row in sorted(self._kept))

    def _example(self, row: int, target: int) -> Example:
        actuals, forecast, naive = (each[:, target] for each in self._kept[row])
        origin = int(self._windows.origins[row])
        wanted = min(max(2 * self._windows.horizon, LEAST_HISTORY), MOST_STEPS)
        begin = max(int(self._windows.first[row]), origin + 1 - wanted)
        time: datetime = self._windows.clock[origin + 1].astype("datetime64[us]").item()
        return Example(
            start=time.replace(tzinfo=UTC),
            history=rounded(self._windows.values[begin : origin + 1, target]),
            actuals=rounded(actuals),
            quantiles=tuple(rounded(level) for level in forecast.T),
            seasonal_naive=rounded(naive),
        )
