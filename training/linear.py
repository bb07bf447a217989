"""Solve a network's linear skip in closed form, before the network learns the residuals."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from training.networks import Forecaster
from training.windows import Rows, Windows, spread_rows

_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # shares of the mean square of an input
_WINDOWS = 16_384  # at most so many are read, evenly spread
_BATCH = 256

Pairs = tuple[NDArray[np.float32], NDArray[np.float32]]


class StreamingRidge:
    """
    Least squares with a penalty on the squared weights, in closed form (Hoerl, Kennard 1970).

    Rows are added batch by batch, and only their products are kept: W = (X'X + p I)^-1 X'Y.
    """

    def __init__(self, steps: int, horizon: int) -> None:
        self.squares = np.zeros((steps, steps))
        self.products = np.zeros((steps, horizon))

    def add(self, inputs: NDArray[np.floating], wanted: NDArray[np.floating]) -> None:
        """Add (rows, steps) and (rows, horizon); a row with a NaN in either is left out."""
        whole = np.isfinite(inputs).all(1) & np.isfinite(wanted).all(1)
        x, y = inputs[whole].astype(np.float64), wanted[whole].astype(np.float64)
        self.squares += x.T @ x
        self.products += x.T @ y

    def solve(self, penalty: float) -> NDArray[np.float64]:
        """Return the weights (steps, horizon); ``penalty`` is a share of the mean of X'X."""
        steps = len(self.squares)
        size = max(np.trace(self.squares) / steps, np.finfo(np.float64).tiny)
        weights: NDArray[np.float64] = np.linalg.solve(
            self.squares + penalty * size * np.eye(steps), self.products
        )
        return weights


def solve_skip(
    network: Forecaster, train: Windows, validation: Windows, *, trained: bool = False
) -> float:
    """
    Set the skip to ridge regression in the network's units, and the head to zero.

    Training then begins at the linear forecast; it changes the skip's weights only if
    ``trained``.  One map serves all targets.  It is fitted to the windows that have all the steps
    it maps without a gap, if there are at least as many as steps, else to all windows.  The
    penalty with the least absolute error on the validation part is chosen and returned, as a
    share of the mean square of an input.  Raises ValueError for a network without a skip.
    """
    if network.skip is None:
        raise ValueError("This network has no linear skip.")
    steps, horizon = network.skip.map.in_features, network.skip.map.out_features
    ridge = StreamingRidge(steps, horizon)
    for inputs, wanted in _pairs(network, train, _whole(train, steps)):
        ridge.add(inputs, wanted)
    solved = {penalty: ridge.solve(penalty) for penalty in _PENALTIES}
    errors = dict.fromkeys(solved, 0.0)
    for inputs, wanted in _pairs(network, validation, np.arange(len(validation))):
        for penalty, weights in solved.items():
            errors[penalty] += float(np.nansum(np.abs(inputs @ weights - wanted)))
    best = min(errors, key=errors.__getitem__)
    network.skip.start(solved[best], trained=trained)
    network.head.silence()
    return best


def _whole(windows: Windows, steps: int) -> Rows:
    """Return the windows without a gap in their last ``steps`` steps; all if these are too few."""
    gaps = np.isnan(windows.values[:, : windows.targets]).any(axis=1)
    before = np.concatenate([[0], np.cumsum(gaps)])
    rows = np.arange(len(windows))
    begin = windows.origins + 1 - steps
    whole = windows.available(rows) >= steps
    whole[whole] = before[windows.origins[whole] + 1] == before[begin[whole]]
    return rows[whole] if whole.sum() >= steps else rows


def _pairs(network: Forecaster, windows: Windows, rows: Rows) -> Iterator[Pairs]:
    """Yield inputs (rows, steps) and outputs (rows, horizon), a row per window and target."""
    for _, batch in windows.batches(rows[spread_rows(len(rows), _WINDOWS)], _BATCH):
        pair = network.linear_pairs(
            torch.from_numpy(batch.sequences),
            torch.from_numpy(batch.lengths),
            torch.from_numpy(np.ascontiguousarray(batch.actuals)),
        )
        inputs, wanted = (each.flatten(0, 1).numpy() for each in pair)
        yield inputs, wanted
