"""What the figures on a card mean: each held against the textbook, one number at a time."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract import Accuracy
from training.baselines import seasonal_naive
from training.errors import TrainingError
from training.evaluate import measure
from training.recipe import Recipe
from training.windows import Batch, Windows

HORIZON, SEASON = 3, 4
LEVELS = (0.1, 0.5, 0.8)


def recipe(*, targets=1, levels=LEVELS) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "small",
            "horizon": HORIZON,
            "season": SEASON,
            "quantiles": levels,
            "max_length": 6,
            "min_length": 1,
            "data": {
                "source": "none",
                "time": "ds",
                "targets": ["a", "b"][:targets],
                "frequency": "1h",
            },
        }
    )


def windows(values) -> Windows:
    """Return every window of one series, (steps, targets)."""
    values = np.asarray(values, "f4")
    clock = np.datetime64("2024-01-01", "us") + np.arange(len(values)) * np.timedelta64(1, "h")
    origins = np.arange(SEASON, len(values) - HORIZON)
    first = np.zeros(len(origins), int)
    return Windows(values, clock, origins, first, 6, HORIZON, values.shape[1], 0)


def walk(steps=40, targets=1, *, holes=0.0, seed=0) -> Windows:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(steps, targets)).cumsum(0) + 5
    values[rng.random(values.shape) < holes] = np.nan
    return windows(values)


class Guess:
    """Answers at random, and remembers every answer and batch."""

    def __init__(self, levels=LEVELS, seed=1) -> None:
        self.levels = levels
        self.rng = np.random.default_rng(seed)
        self.answers: list[np.ndarray] = []
        self.batches: list[Batch] = []

    def __call__(self, batch: Batch) -> np.ndarray:
        shape = (*batch.actuals.shape, len(self.levels))
        answer = np.sort(self.rng.normal(5, 3, shape), axis=-1).astype("f4")
        self.answers.append(answer)
        self.batches.append(batch)
        return answer


def everything(each: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of all windows, and their actuals (windows, horizon, targets)."""
    rows = np.arange(len(each))
    return rows, each.batch(rows, each.available(rows)).actuals


def mean_of(quantiles, levels) -> float:
    """Integrate the quantile function: linear between the levels, flat outside."""
    total = quantiles[0] * levels[0] + quantiles[-1] * (1 - levels[-1])
    for number in range(len(levels) - 1):
        middle = (quantiles[number] + quantiles[number + 1]) / 2
        total += middle * (levels[number + 1] - levels[number])
    return total


def textbook(actuals, answers, naive, levels, target) -> dict[str, float]:
    """Compute every figure of one target with nothing but loops and formulas."""
    absolute, squared, inside, pinball, size = [], [], [], [], []
    naive_absolute, naive_squared = [], []
    for window in range(actuals.shape[0]):
        for step in range(actuals.shape[1]):
            actual = float(actuals[window, step, target])
            if math.isnan(actual):
                continue
            quantiles = [float(value) for value in answers[window, step, target]]
            absolute.append(abs(actual - quantiles[levels.index(0.5)]))
            squared.append((actual - mean_of(quantiles, levels)) ** 2)
            inside.append(quantiles[0] <= actual <= quantiles[-1])
            size.append(abs(actual))
            for level, quantile in zip(levels, quantiles, strict=True):
                loss = level if actual >= quantile else 1 - level
                pinball.append(loss * abs(actual - quantile) / len(levels))
            repeated = float(naive[window, step, target])
            if not math.isnan(repeated):
                naive_absolute.append(abs(actual - repeated))
                naive_squared.append((actual - repeated) ** 2)
    return {
        "mae": sum(absolute) / len(absolute),
        "rmse": math.sqrt(sum(squared) / len(squared)),
        "weighted_quantile_loss": 2 * sum(pinball) / sum(size),
        "coverage": sum(inside) / len(inside),
        "nominal_coverage": levels[-1] - levels[0],
        "seasonal_naive_mae": sum(naive_absolute) / len(naive_absolute),
        "seasonal_naive_rmse": math.sqrt(sum(naive_squared) / len(naive_squared)),
    }


def compare(found: Accuracy, each: Windows, guess: Guess) -> None:
    rows, actuals = everything(each)
    answers = np.concatenate(guess.answers)
    naive = seasonal_naive(each, rows, SEASON)
    for number, accuracy in enumerate(found.targets.values()):
        expected = textbook(actuals, answers, naive, guess.levels, number)
        assert accuracy.model_dump() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("levels", [LEVELS, (0.5,), (0.1, 0.5, 0.9), (0.05, 0.25, 0.5, 0.6, 0.99)])
@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_each_figure_is_that_of_the_textbook(levels, holes):
    each, guess = walk(targets=2, holes=holes), Guess(levels)
    compare(measure(each, guess, recipe(targets=2, levels=levels)), each, guess)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 9999), st.integers(12, 40), st.sampled_from([0, 0.1, 0.4]), st.integers(1, 9))
def test_each_figure_is_that_of_the_textbook_whatever_the_series(seed, steps, holes, batch_size):
    each, guess = walk(steps, holes=holes, seed=seed), Guess(seed=seed)
    rows, actuals = everything(each)
    if not (np.isfinite(actuals) & np.isfinite(seasonal_naive(each, rows, SEASON))).any():
        return
    compare(measure(each, guess, recipe(), batch_size=batch_size), each, guess)


def test_figures_checked_by_hand():
    each = windows(np.array([[0.0], [1], [2], [3], [4], [10], [20], [30]]))

    def forecaster(batch: Batch) -> np.ndarray:
        return batch.actuals[..., None] + np.array([-4, -2, 1], "f4")

    found = measure(each, forecaster, recipe()).targets["a"]
    # one window: actuals 10, 20, 30; the mean lies -4 * 0.3 - 2 * 0.35 + 1 * 0.35 off
    assert found.mae == pytest.approx(2)
    assert found.rmse == pytest.approx(1.55)
    assert found.coverage == 1
    assert found.nominal_coverage == 0.7
    # pinball 0.1 * 4, 0.5 * 2, 0.2 * 1 at each of three steps
    assert found.weighted_quantile_loss == pytest.approx(2 * (1.6 / 3) * 3 / 60)
    # the naive forecast is 1, 2, 3
    assert found.seasonal_naive_mae == pytest.approx((9 + 18 + 27) / 3)
    assert found.seasonal_naive_rmse == pytest.approx(math.sqrt((81 + 324 + 729) / 3))


def test_a_perfect_forecaster_makes_no_error():
    def perfect(batch: Batch) -> np.ndarray:
        return np.repeat(np.nan_to_num(batch.actuals)[..., None], len(LEVELS), axis=-1)

    for holes in (0.0, 0.3):
        found = measure(walk(holes=holes), perfect, recipe()).targets["a"]
        assert found.mae == found.weighted_quantile_loss == 0
        assert found.rmse == pytest.approx(0, abs=1e-6)
        assert found.coverage == 1
        assert found.seasonal_naive_mae > 0


def test_seasonal_naive_as_the_forecaster_equals_the_naive_columns():
    each = walk(targets=2, holes=0.1)
    naive = seasonal_naive(each, np.arange(len(each)), SEASON)
    answers = iter(np.array_split(naive, range(7, len(naive), 7)))

    def forecaster(_: Batch) -> np.ndarray:
        return np.repeat(next(answers)[..., None], len(LEVELS), axis=-1)

    found = measure(each, forecaster, recipe(targets=2), batch_size=7)
    for accuracy in found.targets.values():
        assert accuracy.mae == pytest.approx(accuracy.seasonal_naive_mae, rel=1e-6)
        assert accuracy.rmse == pytest.approx(accuracy.seasonal_naive_rmse, rel=1e-6)


def test_missing_actuals_count_for_nothing():
    values = np.arange(40.0)[:, None]
    values[20] = np.nan

    def two_too_low(batch: Batch) -> np.ndarray:
        return np.nan_to_num(batch.actuals[..., None] - np.array([3, 2, 1], "f4"), nan=1e9)

    found = measure(windows(values), two_too_low, recipe()).targets["a"]
    assert found.mae == pytest.approx(2)
    assert found.coverage == 0


@pytest.mark.parametrize("answer", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_no_number_is_an_error_and_not_a_perfect_score(answer):
    def broken(batch: Batch) -> np.ndarray:
        answers = np.zeros((*batch.actuals.shape, len(LEVELS)), "f4")
        answers[-1, -1, 0, 0] = answer
        return answers

    with pytest.raises(TrainingError, match="not finite"):
        measure(walk(), broken, recipe())


def test_errors_whose_squares_are_beyond_float32_are_measured():
    each = walk()
    each.values[:] *= np.float32(1e25)
    found = measure(each, Guess(), recipe()).targets["a"]
    assert all(math.isfinite(value) for value in found.model_dump().values())


def test_the_size_of_the_batches_changes_nothing():
    each = walk(targets=2, holes=0.1)

    def last(batch: Batch) -> np.ndarray:
        value = np.nan_to_num(batch.sequences[np.arange(len(batch.lengths)), batch.lengths - 1])
        return np.broadcast_to(value[:, None, :, None], (*batch.actuals.shape, len(LEVELS)))

    whole = measure(each, last, recipe(targets=2))
    for size in (1, 7, len(each)):
        parts = measure(each, last, recipe(targets=2), batch_size=size)
        assert parts.model_dump_json(exclude={"targets"}) == whole.model_dump_json(
            exclude={"targets"}
        )
        for name, accuracy in parts.targets.items():
            assert accuracy.model_dump() == pytest.approx(whole.targets[name].model_dump())


def test_every_window_is_forecast_once_from_all_the_steps_it_has():
    each, guess = walk(), Guess()
    assert measure(each, guess, recipe(), batch_size=5).windows == len(each)
    actuals = np.concatenate([batch.actuals for batch in guess.batches])
    lengths = np.concatenate([batch.lengths for batch in guess.batches])
    assert np.array_equal(actuals, everything(each)[1])
    assert lengths.tolist() == [min(origin + 1, 6) for origin in each.origins]


def test_the_card_says_from_when_to_when_and_which_season():
    found = measure(walk(40), Guess(), recipe())
    assert found.season == SEASON
    assert found.start == datetime(2024, 1, 1, SEASON + 1, tzinfo=UTC)
    assert found.end == datetime(2024, 1, 2, 15, tzinfo=UTC)
