"""Measure a classifier and two simple methods on held-out series."""

import numpy as np
import torch
from numpy.typing import NDArray

from models.classification import ClassificationAccuracy
from training.classify.calibration import Float, Labels, calibration_error, softmax
from training.classify.series import Part, Parts
from training.errors import NonFiniteAnswer
from training.networks import Classifier, Scaling

RESAMPLED = 32  # steps that series are resampled to for the nearest neighbour
_LEAST = 1e-12  # of a probability, in the logarithm


def logits_of(network: Classifier, part: Part, batch_size: int = 256) -> Float:
    """
    Return the logits (series, classes) before calibration.

    Raises NonFiniteAnswer for one that is not finite.
    """
    found = []
    with torch.inference_mode():
        for start in range(0, len(part), batch_size):
            rows = np.arange(start, min(start + batch_size, len(part)))
            sequences, lengths, _ = part.batch(rows)
            found.append(network.logits(sequences, lengths)[0].double().numpy())
    logits = np.concatenate(found)
    if not np.isfinite(logits).all():
        raise NonFiniteAnswer
    return logits


def measure(network: Classifier, parts: Parts, scaling: Scaling) -> ClassificationAccuracy:
    """Classify every held-out series once, with the network's temperature, and score it."""
    logits, labels, classes = logits_of(network, parts.test), parts.test.labels, network.classes
    temperature = float(network.head.temperature)
    probabilities = softmax(logits / temperature)
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    of_label = probabilities[np.arange(len(labels)), labels]
    majority = np.bincount(parts.train.labels, minlength=classes).argmax()
    nearest = nearest_labels(parts.train, parts.test, scaling)
    recall = np.diag(confusion) / confusion.sum(axis=1)  # no class is without a series
    return ClassificationAccuracy(
        series=len(labels),
        accuracy=float((predicted == labels).mean()),
        majority_accuracy=float((labels == majority).mean()),
        nearest_accuracy=float((labels == nearest).mean()),
        log_loss=float(-np.log(of_label.clip(_LEAST)).mean()),
        macro_f1=macro_f1(confusion),
        calibration_error=calibration_error(probabilities, labels),
        uncalibrated_error=calibration_error(softmax(logits), labels),
        temperature=temperature,
        recall=dict(zip(parts.test.table.classes, recall.tolist(), strict=True)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Return the mean F1 over the classes of a confusion matrix (actual, predicted)."""
    hits, both = np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1)
    return float((2 * hits / np.maximum(both, 1)).mean())


def nearest_labels(train: Part, test: Part, scaling: Scaling) -> Labels:
    """
    Return for each test series the class of the nearest one in training, (series,).

    By Euclidean distance, after each series is standardised by column and resampled to
    ``RESAMPLED`` steps.
    """
    known, asked = (_resampled(part, scaling) for part in (train, test))
    distances = (known**2).sum(1)[None] - 2 * asked @ known.T  # squared, less a constant per row
    labels: Labels = train.labels[distances.argmin(axis=1)]
    return labels


def _resampled(part: Part, scaling: Scaling) -> Float:
    """Return (series, RESAMPLED * columns); missing values become the mean."""
    grid = np.linspace(0, 1, RESAMPLED)
    return np.array([_stretch(each, scaling, grid) for each in part.series])


def _stretch(series: NDArray[np.float32], scaling: Scaling, grid: Float) -> Float:
    values = np.nan_to_num((series.astype(np.float64) - scaling.mean) / scaling.scale)
    steps = np.linspace(0, 1, len(values)) if len(values) > 1 else np.zeros(1)
    return np.concatenate([np.interp(grid, steps, column) for column in values.T])
