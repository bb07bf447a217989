"""What a classifier's run decides by itself: the lengths it reads, and what each class counts."""

import numpy as np
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from models.classification import ClassificationAccuracy
from tests.labelled import CLASSES, plan, recipe, waves
from training.classify.data import Labelled
from training.classify.pipeline import _guard, _lengths, _weights
from training.classify.series import Part
from training.comparing import compare
from training.errors import Outperformed, RecipeError


def table(count=9) -> Labelled:
    names, kinds, values = zip(*waves(count), strict=True)
    labels = np.array([CLASSES.index(kind) for kind in kinds])
    return Labelled("none", "0", 0, names, values, labels, CLASSES)


def test_a_model_reads_the_lengths_it_has_seen_or_more_where_the_recipe_says_so():
    some = table()
    steps = [len(each) for each in some.series]
    assert _lengths(plan(), some) == (min(steps), max(steps))
    assert _lengths(plan(min_length=1, max_length=99), some) == (1, 99)


@pytest.mark.parametrize("changes", [{"max_length": 15}, {"min_length": 47}], ids=str)
def test_a_series_that_is_too_long_or_too_short_is_refused_before_training(changes):
    with pytest.raises(RecipeError, match=r"are allowed\.\n"):
        _lengths(plan(**changes), table(60))


def test_balanced_classes_count_alike_however_rare():
    some = table(12)
    part = Part(some, np.array([0, 1, 3, 4, 6, 7, 9, 2]))  # of the kinds 4, 3 and 1
    counts = np.bincount(part.labels)
    assert sorted(counts) == [1, 3, 4]
    weights = _weights(part).numpy()
    assert weights * counts == pytest.approx(np.full(3, 8 / 3))


@pytest.mark.parametrize(
    ("fit", "reason"),
    [
        ({"truncate": 99}, "cuts nothing unless below max_length"),
        ({"truncate": 4, "kind": "attention"}, "truncate is for gru, lstm and rnn"),
        ({"state_decay": 0.1, "kind": "attention"}, "state_decay is for gru, lstm and rnn"),
        ({"truncate": 4, "bidirectional": True}, "no end to count from"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_what_the_loop_cannot_do_with_the_network_is_refused_before_training(fit, reason):
    network = {key: fit[key] for key in ("kind", "bidirectional") if key in fit}
    rules = {key: value for key, value in fit.items() if key not in network}
    with pytest.raises(RecipeError, match=reason):
        _lengths(plan(network, fit=rules), table())


@pytest.mark.parametrize("network", [{"channels": "independent"}, {"linear_steps": 3}], ids=str)
def test_parts_that_only_forecast_are_refused(network):
    with pytest.raises(ValidationError, match="for forecasts"):
        plan(network)


def test_a_classifier_that_is_wrong_more_often_than_its_neighbours_is_not_published():
    said = []

    def judge(accuracy, *, anyway=False, **changes):
        shares = {"majority_accuracy": 0.5, "nearest_accuracy": 0.6, "macro_f1": 0.5}
        sure = {"calibration_error": 0, "uncalibrated_error": 0, "temperature": 1, "log_loss": 1}
        counts = {"series": 4, "recall": {"a": 1, "b": 1}, "confusion": [[2, 0], [0, 2]]}
        found = ClassificationAccuracy(accuracy=accuracy, **shares, **sure, **counts)
        _guard(plan(**changes), found, anyway=anyway, say=said.append)

    judge(0.6)
    with pytest.raises(Outperformed, match=r"1\.25 times that of the nearest series"):
        judge(0.5)
    with pytest.raises(Outperformed, match=r"1\.2 times that of the most frequent class and"):
        judge(0.4)
    with pytest.raises(Outperformed, match=r"error is 1\.5 times that of the nearest series;"):
        judge(0.4, balanced=True)
    assert said == []
    judge(0.5, anyway=True)
    assert said == [
        "it loses to the nearest series, by an error 1.25 times as large; the card says so"
    ]


def test_classifiers_are_not_compared(tmp_path):
    described = recipe(tmp_path, tmp_path / "none.csv")
    result = CliRunner().invoke(compare, [str(described)])
    assert result.exit_code == 1
    assert "classifies, and only forecasts are compared" in result.stderr
    assert "--label" not in CliRunner().invoke(compare, ["--help"]).stdout
