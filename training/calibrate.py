"""Conformal calibration: scale the gaps between quantiles until they hold on validation data."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from training.networks import Forecaster
from training.windows import Batch, Windows, spread_rows

_NUMBERS = 20_000_000  # forecast at most
_BATCH = 256
_LEAST = 0.05  # the least stretch, so that quantiles stay apart

Float = NDArray[np.floating]


def calibrate(
    network: Forecaster, answer: Callable[[Batch], NDArray[np.float32]], validation: Windows
) -> None:
    """
    Set the stretch of each gap between a network's quantiles, one per target for all steps.

    ``answer`` returns the network's forecasts.  The median, and so every point forecast, stays as
    it is.  A network with one quantile has no gap and is left alone.
    """
    levels = network.levels.numpy().astype(np.float64)
    if len(levels) == 1:
        return
    per_window = validation.horizon * validation.targets * len(levels)
    rows = spread_rows(len(validation), max(1, _NUMBERS // per_window))
    answers, actuals = [], []
    for _, batch in validation.batches(rows, _BATCH):
        answers.append(answer(batch))
        actuals.append(batch.actuals)
    stretch = stretches(
        np.concatenate(answers), np.concatenate(actuals), levels, network.quantiles.median
    )
    network.quantiles.stretch.copy_(torch.from_numpy(stretch))


def stretches(answers: Float, actuals: Float, levels: Float, median: int) -> NDArray[np.float32]:
    """
    Return the factor for the gap before each quantile, (targets, quantiles); 1 at the median.

    ``answers`` is (windows, horizon, targets, quantiles), ``actuals`` the same without quantiles,
    NaN where unknown.  From the median outwards, the score of an actual y beside a gap that
    begins at b and is g wide is (y - b) / g, and the stretch is the conformal quantile of the
    scores: the ceil((n + 1) level)-th smallest of n (Vovk et al. 2005; normalised by the gap as
    in Lei et al. 2018, arXiv:1604.04173).
    """
    targets = answers.shape[2]
    stretch = np.ones((targets, len(levels)), dtype=np.float32)
    for target in range(targets):
        actual = actuals[:, :, target].astype(np.float64)
        known = np.isfinite(actual)
        quantiles, actual = answers[:, :, target][known].astype(np.float64), actual[known]
        if not len(actual):
            continue
        for side in (1, -1):
            base = quantiles[:, median]
            last = len(levels) if side == 1 else -1
            for level in range(median + side, last, side):
                gap = np.abs(quantiles[:, level] - quantiles[:, level - side])
                wanted = levels[level] if side == 1 else 1 - levels[level]
                scores = side * (actual - base) / np.maximum(gap, np.finfo(np.float32).tiny)
                found = max(_conformal(scores, wanted), _LEAST)
                stretch[target, level] = found
                base = base + side * found * gap
    return stretch


def _conformal(scores: Float, level: float) -> float:
    rank = min(int(np.ceil((len(scores) + 1) * level)), len(scores)) - 1
    return float(np.partition(scores, rank)[rank])
