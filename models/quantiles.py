"""The mean and the median of a forecast given by quantiles."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def mean_weights(levels: Sequence[float]) -> NDArray[np.float64]:
    """
    Return the weight of each quantile in the mean, (quantiles,), summing to one.

    The mean of a distribution is the integral of its quantile function over (0, 1).  That is
    taken as linear between the levels and constant beyond the outer ones, so the weight of a level
    is half the distance between its neighbours, and the outer levels also get their tails.
    """
    return _weights(tuple(levels))


@lru_cache(maxsize=256)
def _weights(levels: tuple[float, ...]) -> NDArray[np.float64]:
    edges = np.concatenate(([0.0], (np.array(levels[1:]) + np.array(levels[:-1])) / 2, [1.0]))
    weights = np.diff(edges)
    weights.setflags(write=False)
    return weights


@lru_cache(maxsize=256)
def median_weights(levels: tuple[float, ...]) -> NDArray[np.float64]:
    """
    Return the weight of each quantile in the median, (quantiles,).

    All of it for the level 0.5 where it is there; linear between its neighbours where it is not.
    """
    weights = np.array([np.interp(0.5, levels, one) for one in np.eye(len(levels))])
    weights.setflags(write=False)
    return weights
