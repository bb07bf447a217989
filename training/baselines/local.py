"""Methods with one model per series: fitted on its training part, reused at each origin."""

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from training.baselines.forecast import DoesNotApply, Forecast, Points
from training.baselines.gaps import filled
from training.quiet import quiet
from training.recipe import Recipe
from training.windows import Rows, Windows

_STEPS = 1000  # of the end of the training part that are learnt from,
_SEASONS = 4  # or so many seasons where that is more
_LOGGERS = ("hmmlearn", "hmmlearn.base", "fugue")
_REMARKS = (".*",)  # on convergence and identification: the backtest judges what comes out


@dataclass(frozen=True, slots=True)
class History:
    """A series from a fixed first step to an origin, gaps filled, and its known covariates."""

    values: NDArray[np.float64]  # (time, targets)
    known: NDArray[np.float64]  # (time, known)
    future: NDArray[np.float64]  # (horizon, known); empty where nothing is to be forecast


class Ahead:
    """One origin's forecast: points (horizon, targets) and, where known, their quantiles."""

    def __init__(self, points: NDArray[np.float64], quantiles: Points | None = None) -> None:
        self.points = points
        self.quantiles = quantiles  # (horizon, targets, levels)


class Local(ABC):
    """
    Fit a model on the end of each series' training part, and apply it at each origin.

    Every history begins where that of the fit began, so that initial states and the phase of the
    season are the same at every origin.
    """

    name: ClassVar[str]
    pooled = False

    def __init__(self, recipe: Recipe) -> None:
        self.season = recipe.seasonality
        self.horizon = recipe.horizon
        self.levels = recipe.quantiles
        self._starts: dict[int, int] = {}
        self._models: dict[int, Any] = {}

    def fit(self, train: Windows, validation: Windows) -> None:
        """Fit every series that has a training window."""
        del validation
        with quiet(_LOGGERS, logging.CRITICAL, _REMARKS):
            for first in np.unique(train.first):
                end = int(train.origins[train.first == first].max()) + train.horizon
                start = max(int(first), end + 1 - max(_STEPS, _SEASONS * self.season))
                self._starts[int(first)] = start
                self._models[int(first)] = self.learn(_history(train, start, end, 0))

    def forecast(self, windows: Windows, rows: Rows) -> Forecast:
        """Run each window's model up to its origin, and from there ahead."""
        with quiet(_LOGGERS, logging.CRITICAL, _REMARKS):
            found = [self._ahead(windows, int(row)) for row in rows]
        points = np.stack([each.points for each in found])
        quantiles = [each.quantiles for each in found if each.quantiles is not None]
        whole = len(quantiles) == len(found)
        return Forecast(points, np.stack(quantiles) if whole else None)

    def _ahead(self, windows: Windows, row: int) -> Ahead:
        first, origin = int(windows.first[row]), int(windows.origins[row])
        if first not in self._models:
            raise DoesNotApply("a series begins after the training part")
        history = _history(windows, self._starts[first], origin, self.horizon)
        return self.ahead(self._models[first], history)

    @abstractmethod
    def learn(self, history: History) -> Any:  # noqa: ANN401 -- whatever the library calls a model
        """Return a model of this history."""

    @abstractmethod
    def ahead(self, model: Any, history: History) -> Ahead:  # noqa: ANN401
        """Forecast what follows on a history, with the model as it was learnt."""


def _history(windows: Windows, start: int, end: int, horizon: int) -> History:
    past = filled(windows.values[start : end + 1])
    columns = past.shape[1] - windows.known
    ahead = windows.values[end + 1 : end + 1 + horizon, columns:].astype(np.float64)
    if np.isnan(past[:, : windows.targets]).any():
        raise DoesNotApply("a series is never observed in its history")
    return History(past[:, : windows.targets], past[:, columns:], ahead)
