"""What calibration promises: as sure as it is right, and the same class first."""

import numpy as np
import pytest

from training.classify.calibration import best_temperature, calibration_error, softmax


def drawn(rows=20_000, classes=4, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are right about themselves, and labels drawn by them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (rows, classes))
    chances = softmax(logits)
    labels = (rng.random((rows, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)
    return logits, labels


def loss(logits, labels) -> float:
    return float(-np.log(softmax(logits)[np.arange(len(labels)), labels]).mean())


@pytest.mark.parametrize("factor", [0.25, 1.0, 5.0])
def test_the_factor_that_made_logits_too_sure_or_unsure_is_found(factor):
    logits, labels = drawn()
    assert best_temperature(factor * logits, labels) == pytest.approx(factor, rel=0.04)


def test_no_other_temperature_has_a_smaller_loss():
    logits, labels = drawn(2_000)
    best = best_temperature(3 * logits, labels)
    least = loss(3 * logits / best, labels)
    for other in (0.98, 0.9, 1.02, 1.1):
        assert loss(3 * logits / (best * other), labels) > least


def test_a_network_that_is_too_sure_becomes_honest_on_rows_it_was_not_calibrated_on():
    logits, labels = drawn(8_000)
    logits *= 4
    temperature = best_temperature(logits[:4_000], labels[:4_000])
    held, actual = logits[4_000:], labels[4_000:]
    before = calibration_error(softmax(held), actual)
    after = calibration_error(softmax(held / temperature), actual)
    assert before > 0.15
    assert after < 0.03
    assert (softmax(held / temperature).argmax(1) == held.argmax(1)).all()


def test_a_network_without_an_error_is_not_made_certain():
    logits = 3 * np.eye(3)[np.arange(30) % 3]
    temperature = best_temperature(logits, np.arange(30) % 3)
    sure = softmax(logits / temperature).max()
    assert sure == pytest.approx((31 + 1 / 3) / 32, abs=1e-6)


def test_the_error_is_the_mean_distance_of_sure_and_right_by_bins():
    sure = np.array([0.95, 0.97, 0.99, 0.99, 0.62, 0.64])
    probabilities = np.stack([sure, 1 - sure], axis=1)
    labels = np.array([0, 0, 0, 1, 0, 1])
    # The bins of a fifteenth hold 0.95 to 0.99 and 0.62 to 0.64: 3 of 4 and 1 of 2 are right.
    wanted = (abs(3 - sure[:4].sum()) + abs(1 - sure[4:].sum())) / 6
    assert calibration_error(probabilities, labels) == pytest.approx(wanted)


def test_a_probability_of_one_shares_the_bin_of_those_just_below():
    probabilities = np.array([[1.0, 0.0], [0.95, 0.05]])
    found = calibration_error(probabilities, np.array([1, 0]))
    assert found == pytest.approx((1.95 - 1) / 2)


def test_softmax_of_large_numbers_is_finite():
    assert softmax(np.array([[1e4, 0.0, -1e4]])) == pytest.approx(np.array([[1, 0, 0]]))
