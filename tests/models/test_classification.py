"""What the card of a classifier promises, and that a forecaster's says what it always did."""

import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from models.accuracy import Accuracy, TargetAccuracy
from models.classification import MAJORITY, NEAREST, ClassificationAccuracy
from models.contract import ModelCard, Provenance, Task

NOW = datetime(2026, 11, 25, tzinfo=UTC)
FORECAST = {
    "name": "load",
    "features": ["load"],
    "targets": ["load"],
    "horizon": 2,
    "quantiles": [0.5],
    "frequency": "1h",
    "max_length": 24,
}


def accuracy(classes=("a", "b"), **changes) -> ClassificationAccuracy:
    shares = dict.fromkeys(
        (
            *("accuracy", "majority_accuracy", "nearest_accuracy", "log_loss", "macro_f1"),
            *("calibration_error", "uncalibrated_error", "temperature"),
        ),
        0.5,
    )
    fields = {
        "series": 8,
        "recall": dict.fromkeys(classes, 0.5),
        "confusion": [[2] * len(classes)] * len(classes),
    }
    return ClassificationAccuracy(**shares | fields | changes)


def card(**changes) -> ModelCard:
    fields = {
        "name": "kinds",
        "task": "classify",
        "features": ("x", "y"),
        "classes": ("a", "b"),
        "max_length": 24,
    }
    return ModelCard(**fields | changes)


def test_a_classifiers_card_survives_the_file():
    provenance = Provenance(
        data_sha256="0" * 64,
        rows=100,
        series=20,
        split={"train": 12, "validation": 4, "test": 4},
        seed=1,
        recipe="{}",
        versions={"torch": "2"},
        parity_error=1e-7,
        created=NOW,
    )
    written = card(accuracy=accuracy(), provenance=provenance)
    read = ModelCard.from_metadata(written.to_metadata())
    assert read == written
    assert read.provenance.split == {"train": 12, "validation": 4, "test": 4}
    assert list(read.accuracy.recall) == list(read.classes)


def test_it_answers_one_probability_a_class():
    assert card(classes=("a", "b", "c")).answer_shape == (3,)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"classes": ()}, "at least 2"),
        ({"classes": ("a",)}, "at least 2"),
        ({"classes": ("a", "a")}, "class is named twice"),
        ({"targets": ("x",)}, "a classifier has no targets"),
        ({"known": ("y",)}, "a classifier has no known"),
        ({"calendar": ("hour",)}, "a classifier has no calendar"),
        ({"static": {"y": None}}, "a classifier has no static"),
        ({"horizon": 3}, "a classifier has no horizon"),
        ({"quantiles": (0.5,)}, "a classifier has no quantiles"),
        ({"frequency": "1h"}, "a classifier has no frequency"),
        ({"features": ()}, "at least 1 item"),
        ({"features": ("x", "x")}, "feature is named twice"),
        ({"min_length": 25}, "min_length must not exceed"),
        ({"accuracy": accuracy(("a", "c"))}, "of other classes"),
        ({"task": "forecast"}, "targets and quantiles"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_classifiers_card_that_contradicts_itself_is_refused(changes, reason):
    with pytest.raises(ValidationError, match=reason):
        card(**changes)


def test_a_forecaster_has_no_classes_and_no_accuracy_of_them():
    for more in ({"classes": ("a", "b")}, {"accuracy": accuracy()}):
        with pytest.raises(ValidationError, match="are a classifier's"):
            ModelCard(**FORECAST, **more)


def test_a_classifier_has_no_accuracy_of_a_forecaster():
    names = "mae", "rmse", "weighted_quantile_loss", "coverage", "nominal_coverage"
    errors = TargetAccuracy(**dict.fromkeys(names, 0.5))
    found = Accuracy(windows=3, season=24, start=NOW, end=NOW, targets={"x": errors})
    with pytest.raises(ValidationError, match="a forecaster's, or of other classes"):
        card(accuracy=found)


def test_a_card_written_before_there_were_classes_is_a_forecasters():
    read = ModelCard.from_metadata({"model_card": json.dumps({"schema_version": 1} | FORECAST)})
    assert read.task is Task.FORECAST
    assert read.classes == ()
    assert read.answer_shape == (2, 1, 1)


def test_what_is_right_more_often_is_named():
    assert accuracy().loses_to == ()
    assert accuracy(nearest_accuracy=0.51).loses_to == (NEAREST,)
    assert accuracy(accuracy=0.49).loses_to == (MAJORITY, NEAREST)


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy": 1.1},
        {"series": 0},
        {"temperature": 0},
        {"log_loss": float("nan")},
        {"confusion": [[1, 2]]},
        {"confusion": [[1], [2]]},
        {"confusion": [[1, -2], [3, 4]]},
    ],
    ids=str,
)
def test_an_accuracy_that_cannot_be_is_refused(changes):
    with pytest.raises(ValidationError):
        accuracy(**changes)
