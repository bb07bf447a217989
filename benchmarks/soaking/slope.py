"""The slope of noisy figures, and between which bounds it lies; no process, no clock."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import theilslopes

BLOCKS = 12
HOUR = 3600.0
SURE = 0.95


class Slope(NamedTuple):
    """Growth an hour, and the bounds it lies between 19 times of 20."""

    value: float
    low: float
    high: float

    @property
    def resolution(self) -> float:
        """The smallest growth an hour that could have been told from none."""
        return (self.high - self.low) / 2


def slope(seconds: Sequence[float], values: Sequence[float]) -> Slope:
    """
    Return the slope by Theil and Sen over the medians of twelve stretches.

    Memory that is looked at every few seconds hardly changes from one look to the next, so the
    looks count for far fewer than they are.  The medians of stretches are nearly free of each
    other, and a large request in one of them moves nothing.  The bounds are Sen's (1968).
    Raises ValueError for fewer looks than stretches.
    """
    if len(values) < BLOCKS:
        raise ValueError(f"{len(values)} looks are too few.")
    times = [float(np.median(part)) / HOUR for part in np.array_split(np.array(seconds), BLOCKS)]
    medians = [float(np.median(part)) for part in np.array_split(np.array(values), BLOCKS)]
    value, _, low, high = theilslopes(medians, times, SURE)
    return Slope(float(value), float(low), float(high))
