"""What the figures on a card mean: each held against the textbook, one number at a time."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.accuracy import SEASONAL_NAIVE, Accuracy, TargetAccuracy
from models.scores import Scores
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
        "naive_mae": sum(naive_absolute) / len(naive_absolute),
        "naive_rmse": math.sqrt(sum(naive_squared) / len(naive_squared)),
    }


def figures(found: TargetAccuracy) -> dict[str, float]:
    naive = found.baselines[SEASONAL_NAIVE]
    names = ("mae", "rmse", "weighted_quantile_loss", "coverage", "nominal_coverage")
    return {name: getattr(found, name) for name in names} | {
        "naive_mae": naive.mae,
        "naive_rmse": naive.rmse,
    }


def by_step(actuals, answers, naive, levels, target) -> dict[str, list[float]]:
    """Compute the columns of one target: the textbook on one step at a time."""
    columns = {"mae": [], "rmse": [], "coverage": [], "naive_mae": []}
    for step in range(actuals.shape[1]):
        at = slice(step, step + 1)
        one = textbook(actuals[:, at], answers[:, at], naive[:, at], levels, target)
        for name, column in columns.items():
            column.append(one[name])
    return columns


def compare(found: Accuracy, each: Windows, guess: Guess) -> None:
    rows, actuals = everything(each)
    answers = np.concatenate(guess.answers)
    naive = seasonal_naive(each, rows, SEASON)
    for number, accuracy in enumerate(found.targets.values()):
        expected = textbook(actuals, answers, naive, guess.levels, number)
        assert figures(accuracy) == pytest.approx(expected, rel=1e-5)


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
    naive = found.baselines[SEASONAL_NAIVE]
    assert naive.mae == pytest.approx((9 + 18 + 27) / 3)
    assert naive.rmse == pytest.approx(math.sqrt((81 + 324 + 729) / 3))
    assert naive.mae_ratio == pytest.approx(2 / 18)
    assert naive.mae_by_step == (9, 18, 27)
    assert found.by_step.mae == (2, 2, 2)
    assert found.by_step.rmse == (1.55, 1.55, 1.55)
    assert found.by_step.coverage == (1, 1, 1)
    assert found.mase == pytest.approx(2 / 4)  # 0 and 4 are a season apart
    assert (found.spread.std, found.spread.p50) == (0, 2)


def test_a_perfect_forecaster_makes_no_error():
    def perfect(batch: Batch) -> np.ndarray:
        return np.repeat(np.nan_to_num(batch.actuals)[..., None], len(LEVELS), axis=-1)

    for holes in (0.0, 0.3):
        found = measure(walk(holes=holes), perfect, recipe()).targets["a"]
        assert found.mae == found.weighted_quantile_loss == 0
        assert found.rmse == pytest.approx(0, abs=1e-6)
        assert found.coverage == 1
        assert found.baselines[SEASONAL_NAIVE].mae > 0


def test_seasonal_naive_as_the_forecaster_equals_the_naive_columns():
    each = walk(targets=2, holes=0.1)
    naive = seasonal_naive(each, np.arange(len(each)), SEASON)
    answers = iter(np.array_split(naive, range(7, len(naive), 7)))

    def forecaster(_: Batch) -> np.ndarray:
        return np.repeat(next(answers)[..., None], len(LEVELS), axis=-1)

    found = measure(each, forecaster, recipe(targets=2), batch_size=7)
    for accuracy in found.targets.values():
        assert accuracy.mae == pytest.approx(accuracy.baselines[SEASONAL_NAIVE].mae, rel=1e-6)
        assert accuracy.rmse == pytest.approx(accuracy.baselines[SEASONAL_NAIVE].rmse, rel=1e-6)
        assert accuracy.baselines[SEASONAL_NAIVE].mae_ratio == pytest.approx(1)


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
    assert all(math.isfinite(value) for value in figures(found).values())
    assert all(math.isfinite(value) for value in found.spread.model_dump().values())


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
            assert figures(accuracy) == pytest.approx(figures(whole.targets[name]))
            assert accuracy.spread == whole.targets[name].spread
            assert accuracy.examples == whole.targets[name].examples


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


def test_each_step_has_its_own_figures():
    each, guess = walk(targets=2, holes=0.1), Guess()
    found = measure(each, guess, recipe(targets=2))
    rows, actuals = everything(each)
    naive, answers = seasonal_naive(each, rows, SEASON), np.concatenate(guess.answers)
    for number, target in enumerate(found.targets.values()):
        expected = by_step(actuals, answers, naive, guess.levels, number)
        assert target.by_step.mae == pytest.approx(expected["mae"], rel=1e-4)
        assert target.by_step.rmse == pytest.approx(expected["rmse"], rel=1e-4)
        assert target.by_step.coverage == pytest.approx(expected["coverage"], rel=1e-4)
        by_naive = target.baselines[SEASONAL_NAIVE].mae_by_step
        assert by_naive == pytest.approx(expected["naive_mae"], rel=1e-4)


def test_a_step_that_was_never_observed_has_no_figures():
    values = np.arange(8.0)[:, None]
    values[6] = np.nan
    found = measure(windows(values), Guess(), recipe()).targets["a"]  # of 5, 6 and 7
    for column in (found.by_step.mae, found.by_step.coverage):
        assert [number is None for number in column] == [False, True, False]


def test_the_spread_is_that_of_the_errors_of_single_windows():
    each, guess = walk(60), Guess()
    found = measure(each, guess, recipe(), batch_size=7).targets["a"].spread
    middle = np.concatenate(guess.answers)[..., 0, LEVELS.index(0.5)]
    errors = np.abs(everything(each)[1][..., 0] - middle).mean(axis=1)
    assert found.std == pytest.approx(np.std(errors))
    assert [found.p10, found.p50, found.p90] == pytest.approx(np.quantile(errors, [0.1, 0.5, 0.9]))


def test_the_scaled_error_divides_by_what_each_series_did_before():
    calm, wild = np.arange(20.0), 10 * np.arange(20.0)
    values = np.concatenate([calm, wild])[:, None].astype("f4")
    clock = np.datetime64("2024-01-01", "us") + np.arange(40) * np.timedelta64(1, "h")
    each = Windows(values, clock, np.array([15, 35]), np.array([0, 20]), 6, HORIZON, 1, 0)

    def two_too_high(batch: Batch) -> np.ndarray:
        return np.repeat(batch.actuals[..., None] + 2, len(LEVELS), axis=-1)

    found = measure(each, two_too_high, recipe()).targets["a"]
    assert found.mase == pytest.approx((2 / 4 + 2 / 40) / 2)  # four steps of 1, and of 10


def shifted(by):
    """Return a baseline that misses each actual by as much."""
    return lambda each, rows: each.batch(rows, each.available(rows)).actuals + np.float32(by)


def test_baselines_are_measured_on_the_same_windows_and_the_card_says_which_were_better():
    each = walk(targets=2)

    def two_off(batch: Batch) -> np.ndarray:
        return np.repeat(batch.actuals[..., None] - 2, len(LEVELS), axis=-1)

    baselines = {
        "perfect": shifted(0),
        "better": shifted(1),
        "equal": shifted(-2),
        "bad": shifted(9),
    }
    found = measure(each, two_off, recipe(targets=2), baselines=baselines, batch_size=7)
    assert set(found.loses_to) - {SEASONAL_NAIVE} == {"perfect", "better"}
    for target in found.targets.values():
        others = target.baselines
        assert set(others) == {SEASONAL_NAIVE, *baselines}
        ratios = [others[name].mae_ratio for name in baselines]
        assert ratios[0] is None
        assert ratios[1:] == pytest.approx([2, 1, 2 / 9], rel=1e-4)
        assert others["bad"].mae_by_step == pytest.approx([9] * HORIZON, rel=1e-4)


def test_a_model_that_loses_on_one_target_and_wins_on_average_does_not_lose():
    def errors(batch: Batch) -> np.ndarray:
        return np.repeat((batch.actuals + np.array([1.2, 0.5], "f4"))[..., None], 3, axis=-1)

    found = measure(walk(targets=2), errors, recipe(targets=2), baselines={"one": shifted(1)})
    assert "one" not in found.loses_to


def test_a_baseline_counts_only_where_it_answers():
    each = walk()

    def silent_first(batch: Windows, rows) -> np.ndarray:
        answers = shifted(1)(batch, rows)
        answers[rows < 20] = np.nan
        return answers

    def first_off_by_ten(batch: Batch) -> np.ndarray:
        early = batch.lengths < 6
        return np.repeat((batch.actuals + np.where(early, 10, 2)[:, None, None])[..., None], 3, -1)

    def mute(batch: Windows, rows) -> np.ndarray:
        return np.full_like(shifted(1)(batch, rows), np.nan)

    baselines = {"late": silent_first, "mute": mute}
    found = measure(each, first_off_by_ten, recipe(), baselines=baselines).targets["a"]
    assert found.baselines["late"].mae_ratio == pytest.approx(2)
    assert "mute" not in found.baselines


def test_examples_show_what_was_read_what_came_and_what_was_forecast():
    each, guess = walk(200, targets=2), Guess()
    found = measure(each, guess, recipe(targets=2), batch_size=7)
    rows, actuals = everything(each)
    answers = np.concatenate(guess.answers)
    for number, target in enumerate(found.targets.values()):
        assert len(target.examples) == 3
        for example, row in zip(target.examples, (32, 96, 160), strict=True):
            origin = each.origins[row]
            begin = max(0, origin + 1 - 24)
            assert example.start == each.times(rows)[row].item().replace(tzinfo=UTC)
            history = each.values[begin : origin + 1, number]
            assert example.history == pytest.approx(history, rel=1e-4)
            assert example.actuals == pytest.approx(actuals[row, :, number], rel=1e-4)
            np.testing.assert_allclose(example.quantiles, answers[row, :, number].T, rtol=1e-4)


def test_a_long_horizon_of_many_targets_makes_no_large_card():
    scores = Scores(LEVELS)
    rng = np.random.default_rng(0)
    actuals = rng.normal(size=(4, 720, 7)).astype("f4")
    answers = rng.normal(size=(4, 720, 7, 3)).astype("f4")
    scores.add(actuals, answers, {"a": actuals + 1, "b": actuals - 1}, np.ones((4, 7)))
    size = sum(len(target.model_dump_json()) for target in scores.targets())
    assert size < 250_000


def test_a_series_that_repeats_itself_or_was_too_short_has_no_scaled_error():
    flat, wild = np.full(20, 3.0), 10 * np.arange(20.0)
    values = np.concatenate([flat, wild])[:, None].astype("f4")
    clock = np.datetime64("2024-01-01", "us") + np.arange(40) * np.timedelta64(1, "h")

    def two_too_high(batch: Batch) -> np.ndarray:
        return np.repeat(batch.actuals[..., None] + 2, len(LEVELS), axis=-1)

    def scaled(origins, first):
        each = Windows(values, clock, np.array(origins), np.array(first), 6, HORIZON, 1, 0)
        return measure(each, two_too_high, recipe()).targets["a"].mase

    assert scaled([15, 35], [0, 20]) == pytest.approx(2 / 40)  # of the second alone
    assert scaled([15], [0]) is None
    assert scaled([22], [20]) is None
