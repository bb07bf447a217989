"""How a classifier is measured: by hand on small confusions, and beside what learns nothing."""

import numpy as np
import pytest
import torch

from tests.labelled import CLASSES, plan, waves
from training.classify.data import Labelled
from training.classify.evaluate import logits_of, macro_f1, measure, nearest_labels
from training.classify.report import class_table
from training.classify.series import Part, Parts
from training.errors import TrainingError
from training.networks import Scaling, build_classifier

SCALING = Scaling(np.array([20, -5], "f4"), np.array([3, 2], "f4"))


def table(series) -> Labelled:
    names, kinds, values = zip(*series, strict=True)
    labels = np.array([CLASSES.index(kind) for kind in kinds])
    return Labelled("none", "0", 0, names, values, labels, CLASSES)


def parts(count=24) -> Parts:
    data, members = table(waves(3 * count)), np.arange(3 * count)
    return Parts(*(Part(data, members[start * count :][:count]) for start in range(3)))


def test_macro_f1_is_the_mean_of_the_classes_and_zero_for_one_never_named():
    confusion = np.array([[4, 1, 0], [2, 3, 0], [1, 1, 0]])
    wanted = (2 * 4 / (5 + 7) + 2 * 3 / (5 + 5) + 0) / 3
    assert macro_f1(confusion) == pytest.approx(wanted)


def test_the_figures_are_those_of_the_answers():
    torch.manual_seed(1)
    network = build_classifier(plan({"hidden": 8}), SCALING, 3, longest=20).eval()
    network.head.calibrate(0.5)
    some = parts()
    found = measure(network, some, SCALING)
    sequences, lengths, labels = some.test.batch(np.arange(24))
    with torch.no_grad():
        chances, _ = network(sequences, lengths)
    right = chances.argmax(1) == labels
    assert found.series == 24
    assert found.accuracy == pytest.approx(right.float().mean().item())
    of_label = chances[torch.arange(24), labels]
    assert found.log_loss == pytest.approx(-of_label.log().mean().item(), abs=1e-6)
    assert found.temperature == 0.5
    assert list(found.recall) == list(CLASSES)
    for index, label in enumerate(CLASSES):
        assert found.recall[label] == pytest.approx(right[labels == index].float().mean().item())
        assert sum(found.confusion[index]) == 8
    assert found.calibration_error != found.uncalibrated_error


def test_rows_of_a_batch_and_alone_have_the_same_logits():
    torch.manual_seed(1)
    network = build_classifier(plan({"hidden": 8}), SCALING, 3, longest=20).eval()
    part = parts().test
    assert logits_of(network, part, 1) == pytest.approx(logits_of(network, part, 256), abs=1e-5)


def test_the_nearest_series_is_found_whatever_its_length():
    grid = np.linspace(0, 6, 20)
    known = [("a", "quick", np.stack([20 + 3 * np.sin(grid), 0 * grid - 5], 1).astype("f4"))]
    known += [("b", "slow", np.stack([20 - 3 * np.sin(grid), 0 * grid - 5], 1).astype("f4"))]
    longer = np.linspace(0, 6, 47)
    asked = np.stack([21 - 2 * np.sin(longer), 0 * longer - 5], 1).astype("f4")
    asked[7] = np.nan
    data = table([*known, ("c", "slow", asked)])
    found = nearest_labels(Part(data, np.arange(2)), Part(data, np.array([2])), SCALING)
    assert [CLASSES[label] for label in found] == ["slow"]


def test_the_majority_is_that_of_the_training_part():
    data = table(waves(12))
    few = Part(data, np.flatnonzero(data.labels != 0))
    network = build_classifier(plan({"hidden": 4}), SCALING, 3, longest=20).eval()
    found = measure(network, Parts(few, few, Part(data, np.arange(12))), SCALING)
    assert found.majority_accuracy == pytest.approx(1 / 3)
    only = Part(data, np.flatnonzero(data.labels == 2))
    found = measure(network, Parts(only, few, Part(data, np.arange(12))), SCALING)
    assert found.majority_accuracy == found.nearest_accuracy == pytest.approx(1 / 3)


def test_a_network_whose_numbers_are_not_finite_is_not_measured():
    network = build_classifier(plan({"hidden": 4}), SCALING, 3, longest=20).eval()
    with torch.no_grad():
        network.head.out.bias.fill_(float("inf"))
    with pytest.raises(TrainingError, match="not finite"):
        measure(network, parts(), SCALING)


def test_the_report_says_what_each_class_is_taken_for():
    torch.manual_seed(1)
    network = build_classifier(plan({"hidden": 8}), SCALING, 3, longest=20).eval()
    found = measure(network, parts(), SCALING)
    shown = class_table("waves", found)
    assert f"accuracy {found.accuracy:.1%}" in str(shown.title)
    assert [column.header for column in shown.columns][:3] == ["class", "series", "recall"]
    assert list(shown.columns[0].cells) == list(CLASSES)
