"""How good a stream's forecasts of its next step were, beside seasonal naive; no I/O."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine.jobs import Array

Sums = NDArray[np.float64]  # (4, targets): scored steps, errors, naive's errors, hits

STEPS, ERROR, NAIVE, HITS = range(4)


@dataclass(frozen=True, slots=True)
class Expected:
    """What was forecast for the next step, each (targets,), in the data's units."""

    mean: Array
    low: Array  # the lowest quantile forecast
    high: Array  # and the highest
    naive: Array  # the value a season before; NaN where unknown


def scored(expected: Expected, actual: Array) -> Sums:
    """
    Score one forecast against what came, (targets,); where either is missing, nothing counts.

    The sums are of absolute errors, so that their quotient is the MAE relative to seasonal
    naive's over the same steps.
    """
    known = np.isfinite(actual) & np.isfinite(expected.naive) & np.isfinite(expected.mean)
    error = np.abs(np.subtract(actual, expected.mean, dtype=np.float64))
    naive = np.abs(np.subtract(actual, expected.naive, dtype=np.float64))
    inside = (expected.low <= actual) & (actual <= expected.high)
    return np.where(known, np.stack([np.ones(len(actual)), error, naive, inside]), 0.0)


def nothing(targets: int) -> Sums:
    """Return the sums of a stream of which no forecast could be scored yet."""
    return np.zeros((4, targets))
