"""Score streams' forecasts of the next step, and seasonal naive's; no I/O."""

import numpy as np
from numpy.typing import NDArray

from service.engine.jobs import Array

Sums = NDArray[np.float64]  # (..., 4, targets): scored steps, errors, naive's errors, hits
STEPS, ERROR, NAIVE, HITS = range(4)

Expected = Array  # (..., 4, targets), in the data's units: forecasts of the next step
MEAN, LOW, HIGH, REPEATED = range(4)  # the mean, the outermost quantiles, seasonal naive


def scored(expected: Expected, actual: Array) -> Sums:
    """
    Score forecasts (..., 4, targets) against actuals (..., targets).

    Where either is missing, all scores are 0.  Errors are absolute, so that the quotient of two
    sums is the MAE relative to seasonal naive's over the same steps.
    """
    mean, low, high, naive = (expected[..., part, :] for part in (MEAN, LOW, HIGH, REPEATED))
    known = np.isfinite(actual) & np.isfinite(naive) & np.isfinite(mean)
    error = np.abs(np.subtract(actual, mean, dtype=np.float64))
    beside = np.abs(np.subtract(actual, naive, dtype=np.float64))
    inside = (low <= actual) & (actual <= high)
    parts = np.stack([np.ones_like(error), error, beside, inside], axis=-2)
    return np.where(known[..., None, :], parts, 0.0)


def nothing(targets: int) -> Sums:
    """Return the sums of a stream before any forecast was scored."""
    return np.zeros((4, targets))
