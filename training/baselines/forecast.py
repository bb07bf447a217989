"""What every baseline is asked and what it answers; it knows no method."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from training.windows import Rows, Windows

Points = NDArray[np.float64]  # (batch, horizon, targets), in the data's units
Quantiles = NDArray[np.float64]  # (batch, horizon, targets, levels)


class DoesNotApply(Exception):
    """The method has no meaning for this table; the message says why, as a clause."""


class Forecast(NamedTuple):
    """What is expected in some windows, and its quantiles where the method gives any."""

    points: Points
    quantiles: Quantiles | None = None  # at the recipe's levels, the points at 0.5


class Baseline(Protocol):
    """
    One method: fitted once on the training part, asked at any number of origins.

    A forecast depends on what was fitted and on the values up to its own origin, and on the
    known covariates of its horizon; on nothing else.  Both calls raise DoesNotApply, and
    whatever the library behind them raises.
    """

    @property
    def name(self) -> str:
        """What tables and pictures call it."""

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
