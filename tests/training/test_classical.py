"""Each classical method on a series whose right answer is known; and none of them looks ahead."""

import dataclasses

import numpy as np
import pytest

from tests.training import tables
from tests.training.tables import recipe
from training.baselines import BASELINES, DoesNotApply, seasonal_naive
from training.windows import Split, Windows


def parts(values, chosen) -> Split:
    """Return the parts, of the test at most 20 windows."""
    cut = tables.parts(values, chosen)
    rows = np.unique(np.linspace(0, len(cut.test) - 1, 20).round().astype(int))
    few = dataclasses.replace(cut.test, origins=cut.test.origins[rows], first=cut.test.first[rows])
    return dataclasses.replace(cut, test=few)


def actuals(windows: Windows) -> np.ndarray:
    rows = np.arange(len(windows))
    return windows.batch(rows, windows.available(rows)).actuals


def forecast(name, chosen, cut: Split) -> np.ndarray:
    """Fit on the training part and forecast the whole test part."""
    method = BASELINES[name](chosen)
    method.fit(cut.train, cut.validation)
    return method.forecast(cut.test, np.arange(len(cut.test))).points


def error(points, cut: Split) -> float:
    return float(np.nanmean(np.abs(points - actuals(cut.test))))


def naive_error(chosen, cut: Split) -> float:
    return error(seasonal_naive(cut.test, np.arange(len(cut.test)), chosen.seasonality), cut)


def autoregression(steps=600, *, weight=0.8, seed=0) -> np.ndarray:
    rng, values = np.random.default_rng(seed), np.zeros(steps)
    for step in range(1, steps):
        values[step] = weight * values[step - 1] + rng.normal()
    return values


def seasonal(steps=300, *, season=12, noise=0.3, seed=0) -> np.ndarray:
    rng, time = np.random.default_rng(seed), np.arange(steps)
    return 50 + 0.1 * time + 5 * np.sin(2 * np.pi * time / season) + rng.normal(0, noise, steps)


def test_arima_comes_close_to_the_best_forecast_of_an_autoregression():
    chosen = recipe()
    cut = tables.parts(autoregression(), chosen)
    last = cut.test.values[cut.test.origins, 0]
    best = last[:, None, None] * 0.8 ** np.arange(1, 5)[None, :, None]
    found = forecast("ARIMA", chosen, cut)
    assert error(found, cut) < 1.05 * error(best, cut)
    assert np.abs(found - best).mean() < 0.25
    assert error(found, cut) < 0.95 * naive_error(chosen, cut)


def test_the_interval_of_arima_is_that_of_the_autoregression():
    chosen = recipe()
    cut = parts(autoregression(), chosen)
    method = BASELINES["ARIMA"](chosen)
    method.fit(cut.train, cut.validation)
    found = method.forecast(cut.test, np.arange(3))
    width = found.quantiles[..., 2] - found.quantiles[..., 0]
    deviation = np.sqrt(np.cumsum(0.64 ** np.arange(4)))
    assert width[:, :, 0] == pytest.approx(np.tile(2 * 1.2816 * deviation, (3, 1)), rel=0.15)
    assert np.array_equal(found.quantiles[..., 1], found.points)


@pytest.mark.parametrize("season", [12, 24, 52])
def test_holt_winters_beats_seasonal_naive_on_a_season_with_a_trend(season):
    chosen = recipe(season=season, horizon=6)
    cut = parts(seasonal(8 * season + 150, season=season), chosen)
    assert error(forecast("Holt-Winters", chosen, cut), cut) < 0.75 * naive_error(chosen, cut)


def test_holt_winters_follows_a_season_that_grows_with_the_level():
    time = np.arange(240)
    values = np.exp(0.01 * time) * (10 + 4 * np.sin(2 * np.pi * time / 12))
    chosen = recipe(season=12, horizon=6)
    cut = parts(values, chosen)
    assert error(forecast("Holt-Winters", chosen, cut), cut) < 0.25 * naive_error(chosen, cut)


@pytest.mark.parametrize("season", [12, 96])
def test_arima_knows_the_season_short_or_long(season):
    chosen = recipe(season=season, horizon=6)
    cut = parts(seasonal(6 * season + 150, season=season), chosen)
    assert error(forecast("ARIMA", chosen, cut), cut) < 0.9 * naive_error(chosen, cut)


def test_arimax_uses_what_is_known_ahead_and_arima_does_not():
    rng = np.random.default_rng(0)
    shown = rng.normal(size=400)
    values = np.stack([autoregression(400) * 0.3 + 4 * shown, shown], axis=1)
    chosen = recipe(known=("shown",))
    cut = parts(values, chosen)
    assert error(forecast("ARIMAX", chosen, cut), cut) < 0.2 * error(
        forecast("ARIMA", chosen, cut), cut
    )


def test_ridge_recovers_a_linear_map():
    values = np.empty(400)
    values[:2] = 0.3, 1.0
    for step in range(2, 400):  # an oscillation: a linear map of the last two values
        values[step] = 2 * np.cos(0.3) * values[step - 1] - values[step - 2]
    chosen = recipe()
    cut = parts(values + 20, chosen)
    assert error(forecast("ridge", chosen, cut), cut) < 1e-3


def test_ridge_gives_each_target_its_own_map_where_one_would_not_do():
    time = np.arange(500)
    values = np.stack([np.sin(0.3 * time), 1000 * np.sin(1.7 * time)], axis=1)
    values += np.random.default_rng(0).normal(0, [0.05, 50], values.shape)
    chosen = recipe(targets=("a", "b"), window=4)
    cut = parts(values, chosen)
    method = BASELINES["ridge"](chosen)
    method.fit(cut.train, cut.validation)
    assert method.maps[0] is not method.maps[1]
    found = forecast("ridge", chosen, cut)
    for target, scale in enumerate((1, 1000)):
        missed = np.abs(found - actuals(cut.test))[..., target].mean()
        assert missed < 0.3 * scale


def test_ridge_shares_a_map_where_a_target_alone_has_too_little_to_learn_from():
    values = np.stack([autoregression(200, seed=10 + seed) for seed in range(6)], axis=1)
    plan = {"window": 48, "split": {"validation": 0.4}}
    together = recipe(targets=tuple("abcdef"), **plan)
    cut, alone = tables.parts(values, together), recipe(**plan)
    apart = [tables.parts(column, alone) for column in values.T]
    by_itself = np.mean([error(forecast("ridge", alone, each), each) for each in apart])
    assert error(forecast("ridge", together, cut), cut) < 0.97 * by_itself


def test_the_neighbours_find_a_pattern_that_came_before():
    rng = np.random.default_rng(0)
    shapes = rng.normal(size=(5, 16)) * 4  # five tunes in any order, each known by its first half
    values = np.concatenate([shapes[pick] for pick in rng.integers(0, 5, 60)])
    chosen = recipe(horizon=4, window=8)
    cut = tables.parts(values + rng.normal(0, 0.05, len(values)), chosen)
    inside = (cut.test.origins + 1) % 16 == 8  # the first half was read, the tune goes on
    found = forecast("k-nearest neighbours", chosen, cut)
    assert np.abs(found - actuals(cut.test))[inside].mean() < 0.3


def coupled(steps=500, seed=0) -> np.ndarray:
    """Return two series of which the second repeats the first, one step later."""
    rng, values = np.random.default_rng(seed), np.zeros((steps, 2))
    for step in range(1, steps):
        values[step, 0] = 0.5 * values[step - 1, 0] + rng.normal()
        values[step, 1] = values[step - 1, 0] + 0.1 * rng.normal()
    return values


def test_varma_uses_one_target_for_another_and_arima_cannot():
    chosen = recipe(targets=("a", "b"), horizon=1)
    cut = parts(coupled(), chosen)
    method = BASELINES["VARMA"](chosen)
    method.fit(cut.train, cut.validation)
    alone = np.abs(forecast("ARIMA", chosen, cut) - actuals(cut.test))[..., 1].mean()
    together = np.abs(forecast("VARMA", chosen, cut) - actuals(cut.test))[..., 1].mean()
    assert together < 0.2 * alone


def test_more_targets_than_a_varma_can_have_are_a_var():
    chosen = recipe(targets=tuple("abcdef"), horizon=2)
    values = np.concatenate([coupled(seed=seed) for seed in range(3)], axis=1)
    cut = parts(values, chosen)
    found = forecast("VARMA", chosen, cut)
    missed = np.abs(found - actuals(cut.test))[:, 0].mean(axis=0)
    assert (missed[1::2] < 0.15).all()  # those that repeat another's last value


def test_a_season_is_taken_off_before_a_varma_and_put_back():
    time = np.arange(400)[:, None]
    wave = 20 * np.sin(2 * np.pi * time / 12 + np.array([0, 1]))
    chosen = recipe(targets=("a", "b"), season=12, horizon=6)
    cut = parts(coupled(400) + wave, chosen)
    assert error(forecast("VARMA", chosen, cut), cut) < 0.9 * naive_error(chosen, cut)


def test_a_hidden_markov_model_tells_a_regime_that_rises_from_one_that_falls():
    rng, up, moves = np.random.default_rng(0), True, []
    for _ in range(800):
        up = up if rng.random() < 0.97 else not up
        moves.append((1 if up else -1) + rng.normal(0, 0.3))
    chosen = recipe(horizon=4)
    cut = parts(np.cumsum(moves), chosen)
    found = forecast("hidden Markov model", chosen, cut)
    assert error(found, cut) < 0.5 * naive_error(chosen, cut)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("ARIMAX", "no covariate is known ahead"), ("VARMA", "there is one target")],
)
def test_a_method_that_has_no_meaning_for_a_table_says_why(name, reason):
    with pytest.raises(DoesNotApply, match=reason):
        BASELINES[name](recipe())


def everything(seed=0, steps=260) -> np.ndarray:
    """Return two targets, a covariate and one that is known ahead."""
    rng = np.random.default_rng(seed)
    shown = rng.normal(size=steps)
    pair = coupled(steps, seed) + np.stack([seasonal(steps), seasonal(steps) + shown], axis=1)
    return np.concatenate([pair, shown[:, None]], axis=1)


@pytest.mark.parametrize("holes", [0.0, 0.1])
@pytest.mark.parametrize("name", BASELINES)
def test_no_value_after_the_origin_changes_a_forecast(name, holes):
    chosen = recipe(targets=("a", "b"), known=("shown",), season=12)
    values = everything()
    values[:, :2][np.random.default_rng(1).random((len(values), 2)) < holes] = np.nan
    cut = parts(values, chosen)
    method = BASELINES[name](chosen)
    method.fit(cut.train, cut.validation)
    for row in (0, len(cut.test) // 2):
        before = method.forecast(cut.test, np.array([row]))
        assert np.isfinite(before.points).all()
        changed = cut.test.values.copy()
        changed[cut.test.origins[row] + 1 :, :2] = 1e4
        after = method.forecast(dataclasses.replace(cut.test, values=changed), np.array([row]))
        assert np.array_equal(after.points, before.points)
        if before.quantiles is not None:
            assert np.array_equal(after.quantiles, before.quantiles)


@pytest.mark.parametrize("name", BASELINES)
def test_nothing_of_the_test_part_is_learnt_from(name):
    chosen = recipe(targets=("a", "b"), known=("shown",), season=12)
    values = everything()
    found = []
    for last in (0.0, 1e4):
        changed = values.copy()
        changed[-26:, :2] += last  # the test part begins before
        cut = parts(changed, chosen)
        method = BASELINES[name](chosen)
        method.fit(cut.train, cut.validation)
        assert cut.test.origins[0] < len(values) - 26
        found.append(method.forecast(cut.test, np.array([0])).points)
    assert np.array_equal(*found)


@pytest.mark.parametrize("name", ["ridge", "k-nearest neighbours", "ARIMA", "Holt-Winters"])
def test_series_of_different_size_and_length_are_each_forecast_at_their_own_level(name):
    chosen = recipe(season=12, horizon=6)
    cut = parts([seasonal(200), 1000 * seasonal(240, seed=1), seasonal(230, seed=2)], chosen)
    points = forecast(name, chosen, cut)
    apart = np.abs(points - actuals(cut.test)) / actuals(cut.test)
    assert apart.max() < 0.1


def test_a_season_longer_than_the_history_is_an_honest_refusal():
    chosen = recipe(season=200)
    cut = parts(seasonal(150), chosen)
    with pytest.raises(DoesNotApply, match="too short for its season"):
        BASELINES["hidden Markov model"](chosen).fit(cut.train, cut.validation)
