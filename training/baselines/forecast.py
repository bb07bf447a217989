"""The interface of all baselines."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from training.windows import Rows, Windows

Points = NDArray[np.float64]  # (batch, horizon, targets), in the data's units
Quantiles = NDArray[np.float64]  # (batch, horizon, targets, levels)


class DoesNotApply(Exception):
    """The method cannot be applied to this table; the message says why, as a clause."""


class Forecast(NamedTuple):
    """Point forecasts of some windows, and quantiles if the method has them."""

    points: Points
    quantiles: Quantiles | None = None  # at the recipe's levels, the points at 0.5


class Baseline(Protocol):
    """
    A method that is fitted once on the training part and forecasts from any origin.

    A forecast depends only on what was fitted, the values up to its own origin and the known
    covariates of its horizon.  Both methods may raise DoesNotApply, and whatever their library
    raises.
    """

    @property
    def name(self) -> str:
        """Its name in tables and pictures."""

    @property
    def pooled(self) -> bool:
        """Whether one fit learns from all series; otherwise each series has its own."""

    def fit(self, train: Windows, validation: Windows) -> None:
        """Learn from the training part; choose by the validation part, if there is a choice."""

    def forecast(self, windows: Windows, rows: Rows) -> Forecast:
        """Forecast the windows in these rows, in their order."""


def normal_quantiles(mean: Points, deviation: Points, levels: Sequence[float]) -> Quantiles:
    """Return the quantiles of normal distributions, levels last."""
    scores = np.array([NormalDist().inv_cdf(level) for level in levels])
    quantiles: Quantiles = mean[..., None] + deviation[..., None] * scores
    return quantiles
