"""Calibrate the confidence of a classifier, and measure its calibration."""

import numpy as np
from numpy.typing import NDArray

BINS = 15
_COLDEST, _HOTTEST = 1e-2, 1e2
_HALVINGS = 60

Float = NDArray[np.float64]
Labels = NDArray[np.int64]


def softmax(logits: Float) -> Float:
    """Return exp(z) / sum exp(z) of each row of (rows, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Float = powers / powers.sum(axis=1, keepdims=True)
    return shares


def best_temperature(logits: Float, labels: Labels) -> float:
    """
    Return the temperature that minimises the cross entropy of logits / temperature.

    ``logits`` are (rows, classes), ``labels`` (rows,) (Guo et al. 2017).  The cross entropy is
    convex in 1 / temperature, so the root of its slope, the mean over the rows of
    E_p[z] - E_q[z], is found by bisection.  The target distribution q of a row gives its label
    (n + 1) / (n + 2), of n rows, and spreads the rest over the classes (after Platt 1999): without
    that, a part without a single error would make every answer certain.
    """
    rows, classes = logits.shape
    target = np.full((rows, classes), 1 / (rows + 2) / classes)
    target[np.arange(rows), labels] += (rows + 1) / (rows + 2)
    wanted = (target * logits).sum(axis=1)

    def slope(sharpness: float) -> float:
        return float(((softmax(sharpness * logits) * logits).sum(axis=1) - wanted).mean())

    low, high = np.log(1 / _HOTTEST), np.log(1 / _COLDEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(np.exp(middle)) > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


def calibration_error(probabilities: Float, labels: Labels, bins: int = BINS) -> float:
    """
    Return the expected calibration error of (rows, classes) (Naeini et al. 2015).

    Rows are grouped by their largest probability into ``bins`` of equal width, (low, high].  The
    error is the sum over the bins of |correct rows - sum of their probabilities| / all rows.
    """
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.ceil(sure * bins).clip(1, bins).astype(int) - 1
    gaps = np.bincount(place, right - sure, bins)
    return float(np.abs(gaps).sum() / len(labels))
