"""The futures of the most similar windows (scikit-learn), averaged."""

import logging
from typing import Any

import numpy as np

from training.baselines.forecast import Forecast
from training.baselines.lagged import View
from training.quiet import quiet
from training.recipe import Recipe
from training.windows import Rows, Windows, spread_rows

_NEIGHBOURS = (3, 10, 30, 100)
_PAIRS = 20_000  # to search among, over all targets
_JUDGED = 500


class Neighbours:
    """
    K-nearest neighbours over windows with their last value subtracted, nearer ones weigh more.

    The number of neighbours is what has the least absolute error on the validation part.
    """

    name = "k-nearest neighbours"
    pooled = True

    def __init__(self, recipe: Recipe) -> None:
        del recipe  # the windows say all

    def fit(self, train: Windows, validation: Windows) -> None:
        """Keep an even sample of the training windows of all targets."""
        self.view = View.learn(train)
        learnt = self.view.pairs(train, spread_rows(len(train), _PAIRS // train.targets))
        judged = self.view.pairs(validation, spread_rows(len(validation), _JUDGED))
        inputs, outputs = (np.concatenate(each) for each in zip(*learnt, strict=True))
        counts = sorted({min(count, len(inputs)) for count in _NEIGHBOURS})
        scored = []
        for count in counts:
            model = _model(count).fit(inputs, outputs)
            error = sum(np.abs(model.predict(x) - y).mean() for x, y in judged)
            scored.append((error, count, model))
        self.model = min(scored, key=lambda each: each[:2])[2]

    def forecast(self, windows: Windows, rows: Rows) -> Forecast:
        """Average what followed on the nearest windows."""
        seen = self.view.see(windows, rows)
        batch, targets, steps = seen.inputs.shape
        outputs = self.model.predict(seen.inputs.reshape(-1, steps))
        return Forecast(seen.restore(outputs.reshape(batch, targets, -1)))


def _model(count: int) -> Any:  # noqa: ANN401 -- scikit-learn has no types
    with quiet((), logging.WARNING, (".*",)):
        from sklearn.neighbors import KNeighborsRegressor  # noqa: PLC0415  a second to import

    return KNeighborsRegressor(n_neighbors=count, weights="distance")
