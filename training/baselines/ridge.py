"""Ridge regression from a window to its horizon, in closed form: the linear map to beat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.baselines.forecast import Forecast
from training.baselines.lagged import Pairs, View
from training.recipe import Recipe
from training.windows import Rows, Windows, spread_rows

_PENALTIES = 10.0 ** np.arange(-6, 3)  # in units of the inputs' mean square
_NUMBERS = 20_000_000  # at most so many inputs are gathered


@dataclass(frozen=True, slots=True)
class _Map:
    weights: NDArray[np.float64]  # (steps, horizon)
    intercept: NDArray[np.float64]  # (horizon,)

    def __call__(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        outputs: NDArray[np.float64] = inputs @ self.weights + self.intercept
        return outputs


class Ridge:
    """
    A linear map from each target's own window, its last value subtracted, to its horizon.

    Each target takes the map that all share, as in DLinear (Zeng et al., AAAI 2023), or its
    own; that and the penalty are what has the least absolute error on the validation part.
    """

    name = "ridge"
    pooled = True

    def __init__(self, recipe: Recipe) -> None:
        del recipe  # the windows say all: how far back, how far ahead

    def fit(self, train: Windows, validation: Windows) -> None:
        """Solve for every penalty at once and keep the best."""
        self.view = View.learn(train)
        most = max(1, _NUMBERS // (self.view.steps * train.targets))
        learnt = self.view.pairs(train, spread_rows(len(train), most))
        judged = self.view.pairs(validation, spread_rows(len(validation), most))
        shared = list(_maps(_together(learnt))) if train.targets > 1 else []
        self.maps = [
            _best([*shared, *_maps(own)], held) for own, held in zip(learnt, judged, strict=True)
        ]

    def forecast(self, windows: Windows, rows: Rows) -> Forecast:
        """Map each target's window."""
        seen = self.view.see(windows, rows)
        outputs = [each(seen.inputs[:, target]) for target, each in enumerate(self.maps)]
        return Forecast(seen.restore(np.stack(outputs, axis=1)))


def _together(pairs: Sequence[Pairs]) -> Pairs:
    return Pairs(*(np.concatenate(each) for each in zip(*pairs, strict=True)))


def _maps(pairs: Pairs) -> Iterator[_Map]:
    """Yield the ridge solution of each penalty: one decomposition serves them all."""
    centre, level = pairs.inputs.mean(axis=0), pairs.outputs.mean(axis=0)
    inputs, outputs = pairs.inputs - centre, pairs.outputs - level
    values, vectors = np.linalg.eigh(inputs.T @ inputs)
    projected = vectors.T @ (inputs.T @ outputs)
    size = max(values.mean(), np.finfo(float).tiny)
    for penalty in _PENALTIES:
        shrunk = np.maximum(values, 0) + penalty * size
        weights = vectors @ (projected / shrunk[:, None])
        yield _Map(weights, level - centre @ weights)


def _best(maps: Sequence[_Map], judged: Pairs) -> _Map:
    """Return the map with the least absolute error."""

    def error(found: _Map) -> float:
        return float(np.abs(found(judged.inputs) - judged.outputs).mean())

    return min(maps, key=error)
