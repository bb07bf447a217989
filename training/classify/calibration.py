"""How sure a classifier should be, and how far it is from that; knows neither series nor text."""

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
    Return the temperature by which logits (rows, classes) are divided best (Guo et al. 2017).

    Best is the least cross entropy with labels (rows,).  That is convex in 1 / temperature, so
    its slope, mean over the rows of E_p[z] - E_q[z], is halved in upon.  The target q of a row is
    its label with the weight (n + 1) / (n + 2) and the rest spread over the classes (Platt 1999):
    a part without a single error would otherwise make every answer certain.
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

    Rows are put by their largest probability into bins of equal width, each open below; the
    error is sum over bins of |right - sure| / rows, of how many were right and how sure they were.
    """
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.ceil(sure * bins).clip(1, bins).astype(int) - 1
    gaps = np.bincount(place, right - sure, bins)
    return float(np.abs(gaps).sum() / len(labels))
