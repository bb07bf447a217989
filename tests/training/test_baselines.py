"""What a network must beat: seasonal naive, held against the slowest way to write it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.baselines import seasonal_naive
from training.windows import Windows

NAN = np.nan


def windows(values, origins, *, horizon, first=None, targets=1) -> Windows:
    """Return windows over (steps, columns) or (steps,) values."""
    values = np.asarray(values, "f4")
    values = values[:, None] if values.ndim == 1 else values
    clock = np.datetime64("2024-01-01", "us") + np.arange(len(values)) * np.timedelta64(1, "h")
    first = np.zeros(len(origins), int) if first is None else np.asarray(first)
    return Windows(values, clock, np.asarray(origins), first, 4, horizon, targets, 0)


def forecast(values, origin, *, horizon, season) -> list[float]:
    found = seasonal_naive(windows(values, [origin], horizon=horizon), np.array([0]), season)
    return found[0, :, 0].tolist()


def slowly(each: Windows, row: int, season: int) -> np.ndarray:
    """Forecast one window, one number at a time, and look at nothing but its history."""
    first, origin = int(each.first[row]), int(each.origins[row])
    answer = np.full((each.horizon, each.targets), NAN, "f4")
    for target in range(each.targets):
        history = [float(value) for value in each.values[first : origin + 1, target]]
        observed = [value for value in history if not math.isnan(value)]
        for step in range(each.horizon):
            place = len(history) + step
            while place >= len(history):
                place -= season
            while place >= 0 and math.isnan(history[place]):
                place -= season
            if place >= 0:
                answer[step, target] = history[place]
            elif observed:
                answer[step, target] = observed[-1]
    return answer


def test_the_last_season_is_repeated():
    assert forecast(range(10), 8, horizon=3, season=3) == [6, 7, 8]


def test_beyond_a_season_it_begins_again():
    assert forecast(range(10), 4, horizon=7, season=3) == [2, 3, 4, 2, 3, 4, 2]


def test_a_season_of_one_repeats_the_last_value():
    assert forecast(range(10), 6, horizon=3, season=1) == [6, 6, 6]


def test_a_missing_value_is_taken_one_season_earlier_and_so_on():
    values = [0, 1, 2, 3, NAN, 5, 6, NAN, 8]
    assert forecast(values, 8, horizon=3, season=3) == [6, 1, 8]


def test_what_no_season_ever_saw_is_the_last_value_observed():
    values = [0, NAN, 2, 3, NAN, NAN]
    assert forecast(values, 5, horizon=3, season=3) == [3, 3, 2]


def test_a_history_shorter_than_a_season_gives_what_it_has():
    assert forecast(range(10), 1, horizon=4, season=4) == [1, 1, 0, 1]
    assert forecast([5, NAN], 1, horizon=2, season=24) == [5, 5]


@pytest.mark.timeout(5)  # a season at a time it would take a minute
def test_a_long_history_without_a_value_is_seen_at_once():
    values = [7.0] + [NAN] * 1_000_000
    assert forecast(values, len(values) - 1, horizon=2, season=2) == [7, 7]


def test_a_series_never_observed_has_no_forecast():
    assert np.isnan(forecast([NAN] * 6, 5, horizon=2, season=2)).all()


def test_targets_are_forecast_each_from_its_own_history():
    values = np.array([[1, 10, 7], [2, NAN, 7], [3, 30, 7], [NAN, 40, 7]])
    each = windows(values, [3], horizon=2, targets=2)
    assert seasonal_naive(each, np.array([0]), 2)[0].tolist() == [[3, 30], [2, 40]]


def test_the_rows_asked_for_are_answered_and_in_their_order():
    each = windows(range(20), [3, 7, 11], horizon=2)
    assert seasonal_naive(each, np.array([2, 0]), 2)[:, :, 0].tolist() == [[10, 11], [2, 3]]


@pytest.mark.parametrize("season", [1, 2, 3, 7, 12])
def test_it_sees_nothing_of_what_comes_and_nothing_of_another_series(season):
    values = np.arange(30.0)
    before = seasonal_naive(windows(values, [19], first=[10], horizon=5), np.array([0]), season)
    values[:10], values[20:] = 1e9, NAN
    after = seasonal_naive(windows(values, [19], first=[10], horizon=5), np.array([0]), season)
    assert np.array_equal(before, after)


@st.composite
def cases(draw) -> tuple[Windows, int]:
    targets, horizon = draw(st.integers(1, 2)), draw(st.integers(1, 9))
    number = st.integers(-99, 99).map(float) | st.just(NAN)
    lengths = draw(st.lists(st.integers(1, 25), min_size=1, max_size=3))
    rows = sum(lengths) + horizon
    values = draw(st.lists(st.lists(number, min_size=2, max_size=2), min_size=rows, max_size=rows))
    starts = np.cumsum([0, *lengths])[:-1]
    origins = [
        draw(st.integers(int(s), int(s) + n - 1)) for s, n in zip(starts, lengths, strict=True)
    ]
    each = windows(np.array(values), origins, first=starts, horizon=horizon, targets=targets)
    return each, draw(st.integers(1, 12))


@settings(max_examples=200, deadline=None)
@given(cases())
def test_fast_and_slow_agree_on_any_table(case):
    each, season = case
    rows = np.arange(len(each))
    slow = np.stack([slowly(each, row, season) for row in rows])
    assert np.array_equal(seasonal_naive(each, rows, season), slow, equal_nan=True)
