"""What cutting promises: by time, without a leak, without a copy."""

import tracemalloc
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import Series, Table
from training.errors import DataError
from training.networks.normalise import Scaling
from training.recipe import Recipe
from training.windows import Batch, Split, Windows, split, training_part

START = np.datetime64("2024-01-01T00:00:00", "us")
HOUR = np.timedelta64(1, "h")
PARTS = ("train", "validation", "test")


def series(count: int, *, columns=1, start=0, name="a", seed=0) -> Series:
    """Return a random walk from hour ``start`` on."""
    values = np.random.default_rng(seed).normal(size=(count, columns)).cumsum(0).astype("f4")
    return Series(name, START + HOUR * np.arange(start, start + count), values)


def table(*parts: Series) -> Table:
    rows, columns = sum(len(each.times) for each in parts), parts[0].values.shape[1]
    names = tuple(f"c{number}" for number in range(columns))
    missing = any(bool(np.isnan(each.values).any()) for each in parts)
    return Table("table.csv", "0" * 64, rows, parts, names, missing)


def recipe(*, columns=1, targets=1, known=0, horizon=3, split=(0.2, 0.2), **changes) -> Recipe:
    names = [f"c{number}" for number in range(columns)]
    data = {
        "source": "table.csv",
        "time": "ds",
        "targets": names[:targets],
        "features": names[targets : columns - known],
        "known": names[columns - known :],
        "frequency": "1h",
    }
    borders = dict(zip(("validation", "test"), split, strict=True))
    lengths = {"max_length": 8, "min_length": 2} | changes
    return Recipe.model_validate(
        {"name": "small", "horizon": horizon, "data": data, "split": borders} | lengths
    )


def parts(cut: Split) -> list[Windows]:
    return [getattr(cut, part) for part in PARTS]


def everything(windows: Windows) -> np.ndarray:
    return np.arange(len(windows))


def gather(windows: Windows) -> Batch:
    """Return all windows at once, each with all the steps it has."""
    rows = everything(windows)
    return windows.batch(rows, windows.available(rows))


def ahead(windows: Windows) -> np.ndarray:
    """Return the indices (windows, horizon) of what is forecast."""
    return windows.origins[:, None] + 1 + np.arange(windows.horizon)


def spans(cut: Split) -> list[tuple[np.datetime64, np.datetime64]]:
    """Return the first and the last time that each part forecasts."""
    times = [each.clock[ahead(each)] for each in parts(cut)]
    return [(each.min(), each.max()) for each in times]


def moment(hour: int) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour)


def test_the_parts_follow_one_another_in_time():
    cut = split(table(series(100)), recipe())
    (_, first), (second, third), (last, end) = spans(cut)
    assert first < second <= third < last <= end
    assert end == START + 99 * HOUR


def test_a_window_is_in_the_part_that_holds_its_whole_horizon_and_else_in_none():
    cut = split(table(series(101)), recipe(horizon=3, split=(0.2, 0.2)))
    train, validation, test = (each.origins.tolist() for each in parts(cut))
    # borders: validation from hour 60 on, test from hour 80 on
    assert train == list(range(1, 57))  # the last one forecasts 57, 58, 59
    assert validation == list(range(59, 77))  # 60..62 to 77..79
    assert test == list(range(79, 98))  # 80..82 to 98..100


def test_the_look_back_may_reach_over_the_border():
    cut = split(table(series(101)), recipe())
    batch = gather(cut.validation)
    assert batch.lengths.tolist() == [8] * len(cut.validation)
    assert np.array_equal(batch.sequences[0], cut.validation.values[52:60])
    assert np.array_equal(batch.actuals[0], cut.validation.values[60:63])


def test_cutting_is_never_random():
    one, other = (split(table(series(100)), recipe()) for _ in range(2))
    for first, second in zip(parts(one), parts(other), strict=True):
        assert np.array_equal(first.origins, second.origins)
        assert (np.diff(first.origins) > 0).all()


def test_all_parts_share_one_array():
    cut = split(table(series(300, columns=2), series(200, columns=2, name="b")), recipe(columns=2))
    assert cut.train.values.nbytes == 500 * 2 * 4
    for each in parts(cut):
        assert each.values is cut.train.values
        assert np.shares_memory(each.values, cut.train.values)
        assert each.clock is cut.train.clock


def test_memory_does_not_grow_with_the_windows_length_or_horizon():
    def peak(length: int, horizon: int) -> int:
        whole = table(series(20_000))
        plan = recipe(max_length=length, min_length=1, horizon=horizon)
        tracemalloc.start()
        cut = split(whole, plan)
        cut.train.typical_change()
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(len(each) for each in parts(cut)) > 15_000
        return used

    short, long = peak(4, 2), peak(2000, 500)
    assert long < 1.1 * short
    assert long < 20_000 * 200  # stored, the windows alone would take 160 MB


def test_early_windows_have_what_there_is_and_at_least_the_shortest():
    cut = split(table(series(100)), recipe(min_length=3, max_length=8))
    available = cut.train.available(everything(cut.train))
    assert available[:8].tolist() == [3, 4, 5, 6, 7, 8, 8, 8]
    assert set(available[8:].tolist()) == {8}


def test_a_window_never_reaches_into_the_series_before():
    whole = table(series(40, name="a"), series(40, name="b", seed=1))
    cut = split(whole, recipe(split=(0.25, 0.25)))
    second = cut.train.first == 40
    assert second.any()
    batch = gather(cut.train)
    for row in np.flatnonzero(second):
        length, origin = batch.lengths[row], cut.train.origins[row] - 40
        expected = whole.series[1].values[origin - length + 1 : origin + 1]
        assert np.array_equal(batch.sequences[row, :length], expected)


def test_a_batch_is_as_long_as_its_longest_row_and_zero_behind_each():
    cut = split(table(series(100)), recipe())
    rows = np.array([20, 30, 40])
    batch = cut.train.batch(rows, np.array([2, 5, 3]))
    assert batch.sequences.shape == (3, 5, 1)
    for row, length in enumerate((2, 5, 3)):
        end = cut.train.origins[rows[row]] + 1
        assert np.array_equal(batch.sequences[row, :length], cut.train.values[end - length : end])
        assert (batch.sequences[row, length:] == 0).all()
        assert np.array_equal(batch.actuals[row], cut.train.values[end : end + 3])


def test_padding_is_zero_even_where_the_table_has_no_value():
    holed = series(100)
    holed.values[30] = np.nan
    cut = split(table(holed), recipe())
    rows = np.flatnonzero(np.isin(cut.train.origins, [30, 40]))
    batch = cut.train.batch(rows, np.array([2, 6]))
    assert np.isnan(batch.sequences[0, 1])
    assert (batch.sequences[0, 2:] == 0).all()


def test_gathering_a_batch_leaves_the_values_alone():
    whole = table(series(100))
    cut = split(whole, recipe())
    before = cut.train.values.copy()
    batch = gather(cut.train)
    batch.sequences[:] = 7
    batch.actuals[:] = 7
    assert np.array_equal(cut.train.values, before)


def test_the_future_holds_the_known_columns_and_nothing_else():
    cut = split(table(series(100, columns=4)), recipe(columns=4, targets=1, known=2))
    for each in parts(cut):
        batch = gather(each)
        assert batch.sequences.shape[2] == 4
        assert np.array_equal(batch.future, each.values[ahead(each)][:, :, 2:])
        assert np.array_equal(batch.actuals, each.values[ahead(each)][:, :, :1])


def test_without_known_columns_the_future_is_empty():
    cut = split(table(series(100)), recipe())
    assert gather(cut.train).future.shape == (len(cut.train), 3, 0)


def test_a_window_whose_known_future_has_a_hole_is_left_out():
    holed = series(100, columns=2)
    holed.values[30, 1] = np.nan
    cut = split(table(holed), recipe(columns=2, known=1))
    assert not np.isin([27, 28, 29], cut.train.origins).any()
    assert np.isin([26, 30], cut.train.origins).all()


def test_a_window_without_any_actual_is_left_out_and_one_with_a_single_actual_kept():
    holed = series(100, columns=2)
    holed.values[30:34] = np.nan
    holed.values[40:44, 0] = np.nan
    cut = split(table(holed), recipe(columns=2, targets=2))
    assert not np.isin([29, 30], cut.train.origins).any()
    assert np.isin([28, 31, 39, 40], cut.train.origins).all()


def test_the_times_of_windows_are_those_of_their_first_forecast():
    cut = split(table(series(101)), recipe())
    first = cut.test.times(np.array([0, 5]))
    assert first.tolist() == [datetime(2024, 1, 4, 8), datetime(2024, 1, 4, 13)]  # noqa: DTZ001


def test_the_scaling_is_learnt_before_the_border_alone():
    original, changed = series(101), series(101)
    changed.values[60:] = 1e6
    before, after = table(original), table(changed)
    cuts = [split(each, recipe()) for each in (before, after)]
    assert cuts[0].borders == cuts[1].borders
    one, other = (
        Scaling.learn(training_part(each, cut.borders))
        for each, cut in zip((before, after), cuts, strict=True)
    )
    assert np.array_equal(one.mean, other.mean)
    assert np.array_equal(one.scale, other.scale)
    assert np.array_equal(cuts[0].train.typical_change(), cuts[1].train.typical_change())
    changed.values[59] = 1e6
    assert Scaling.learn(training_part(after, cuts[1].borders)).mean > one.mean


def test_the_training_part_is_all_series_up_to_the_same_time():
    whole = table(series(101), series(60, start=41, name="b", seed=1))
    cut = split(whole, recipe())
    values = training_part(whole, cut.borders)
    first, second = whole.series
    assert np.array_equal(values, np.concatenate([first.values[:60], second.values[:19]]))


def test_the_borders_are_the_last_times_of_training_and_validation():
    cut = split(table(series(101)), recipe())
    assert cut.borders == {"train": moment(59), "validation": moment(79)}


def test_borders_may_be_times_and_are_the_first_of_their_part():
    cut = split(table(series(101)), recipe(split=(moment(50), moment(90))))
    assert cut.borders == {"train": moment(49), "validation": moment(89)}
    hours = [tuple(int((time - START) / HOUR) for time in span) for span in spans(cut)]
    assert hours == [(2, 49), (50, 89), (90, 100)]


def test_a_border_in_another_zone_is_the_same_moment():
    zone = timedelta(hours=5)
    there = [(moment(hour).replace(tzinfo=None) + zone).isoformat() + "+05:00" for hour in (50, 90)]
    cut = split(table(series(101)), recipe(split=tuple(there)))
    assert cut.borders == {"train": moment(49), "validation": moment(89)}


def test_a_border_between_two_rows_or_of_either_kind_will_do():
    half = moment(90) - timedelta(minutes=30)
    cut = split(table(series(101)), recipe(split=(0.2, half)))
    assert cut.borders["validation"] == moment(89)
    assert moment(68) <= cut.borders["train"] <= moment(70)
    cut = split(table(series(101)), recipe(split=(moment(50), 0.2)))
    assert cut.borders == {"train": moment(49), "validation": moment(79)}


def test_series_that_end_early_are_cut_at_the_same_times_as_the_others():
    whole = table(series(101), series(30, name="b"), series(30, start=71, name="c"))
    cut = split(whole, recipe())
    assert cut.borders == {"train": moment(59), "validation": moment(79)}
    assert [int((each.first == 101).sum()) > 0 for each in parts(cut)] == [True, False, False]
    assert [int((each.first == 131).sum()) > 0 for each in parts(cut)] == [False, True, True]


@pytest.mark.parametrize("count", [1, 4, 5, 8])
def test_too_few_rows_are_refused_and_what_is_needed_is_said(count):
    with pytest.raises(DataError) as caught:
        split(table(series(count)), recipe())
    message = str(caught.value)
    assert message.startswith("table.csv: too few rows: no window fits the ")
    assert f"the longest series has {count} rows, one window needs 5 (2 to read, 3 to" in message
    assert "\n  Shorten the horizon or min_length" in message


@pytest.mark.parametrize(
    ("borders", "part"),
    [
        ((0.01, 0.2), "validation"),
        ((0.2, 0.01), "test"),
        ((0.5, 0.5), "training"),
        ((moment(-5), 0.2), "training"),
        ((moment(50), moment(200)), "test"),
        ((moment(80), moment(60)), "validation"),
    ],
)
def test_a_part_too_narrow_for_a_horizon_is_named(borders, part):
    with pytest.raises(DataError, match=f"no window fits the {part} part"):
        split(table(series(101)), recipe(split=borders))


@pytest.mark.parametrize(
    ("rows", "part"),
    [(slice(0, 60), "training"), (slice(60, 80), "validation"), (slice(80, 101), "test")],
)
def test_a_target_never_observed_in_a_part_is_refused(rows, part):
    holed = series(101, columns=2)
    holed.values[rows, 1] = np.nan
    with pytest.raises(DataError, match=f"column 'c1': .* no values in the {part} part"):
        split(table(holed), recipe(columns=2, targets=2))
    assert split(table(holed), recipe(columns=2, targets=1)).borders


def test_the_typical_change_is_the_error_of_repeating_the_last_value():
    holed = series(100, columns=2)
    holed.values[np.random.default_rng(2).random((100, 2)) < 0.2] = np.nan
    cut = split(table(holed), recipe(columns=2, targets=2))
    changes = cut.train.values[ahead(cut.train)] - cut.train.values[cut.train.origins][:, None]
    expected = np.sqrt(np.nanmean(changes.astype("f8") ** 2, axis=(0, 1)))
    np.testing.assert_allclose(cut.train.typical_change(), expected, rtol=1e-5)


def test_a_change_whose_square_is_beyond_float32_is_measured():
    huge = series(100)
    huge.values[:] *= np.float32(1e25)
    change = split(table(huge), recipe()).train.typical_change()
    assert np.isfinite(change).all()


def test_a_target_whose_change_was_never_seen_has_none():
    holed = series(100, columns=2)
    holed.values[::2, 1] = np.nan
    cut = split(table(holed), recipe(columns=2, targets=2, horizon=1))
    change = cut.train.typical_change()
    assert np.isnan(change).tolist() == [False, True]


@st.composite
def cases(draw) -> tuple[Table, Recipe]:
    columns = draw(st.integers(1, 3))
    targets = draw(st.integers(1, columns))
    known = draw(st.integers(0, columns - targets))
    tables = [
        series(
            draw(st.integers(1, 60)),
            columns=columns,
            start=draw(st.integers(0, 30)),
            name=str(number),
            seed=number,
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    holes = np.random.default_rng(draw(st.integers(0, 9)))
    for each in tables:
        each.values[holes.random(each.values.shape) < draw(st.sampled_from([0, 0.1]))] = np.nan
    borders = draw(
        st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45))
        | st.tuples(st.integers(5, 40), st.integers(1, 20)).map(
            lambda hours: (moment(hours[0]), moment(sum(hours)))
        )
    )
    longest = draw(st.integers(1, 12))
    plan = recipe(
        columns=columns,
        targets=targets,
        known=known,
        horizon=draw(st.integers(1, 6)),
        split=borders,
        max_length=longest,
        min_length=draw(st.integers(1, longest)),
    )
    return table(*tables), plan


@settings(max_examples=300, deadline=None)
@given(cases())
def test_whatever_the_table_no_horizon_meets_another_part_and_all_actuals_are_the_series_own(case):
    whole, plan = case
    try:
        cut = split(whole, plan)
    except DataError:
        return  # too short for its parts
    targets = len(plan.data.targets)
    (_, train), (validation, until), (test, _) = spans(cut)
    assert train < validation <= until < test
    assert train <= np.datetime64(cut.borders["train"].replace(tzinfo=None)) < validation
    assert until <= np.datetime64(cut.borders["validation"].replace(tzinfo=None)) < test
    offsets = np.cumsum([0, *(len(each.times) for each in whole.series)])
    for each in parts(cut):
        batch = gather(each)
        for row, origin in enumerate(each.origins):
            number = int(np.searchsorted(offsets, origin, side="right")) - 1
            values, step = whole.series[number].values, origin - offsets[number]
            length = batch.lengths[row]
            assert plan.lengths[0] <= length == min(step + 1, plan.lengths[1])
            seen = values[step + 1 - length : step + 1]
            raw = values[step + 1 : step + 1 + plan.horizon]
            assert len(raw) == plan.horizon
            assert np.array_equal(batch.sequences[row, :length], seen, equal_nan=True)
            assert (batch.sequences[row, length:] == 0).all()
            assert np.array_equal(batch.actuals[row], raw[:, :targets], equal_nan=True)
            known = raw[:, raw.shape[1] - len(plan.data.known) :]
            assert np.array_equal(batch.future[row], known)
            assert np.isfinite(batch.actuals[row]).any()


def test_nothing_is_used_from_the_end_of_a_split_on():
    whole = recipe(split=("2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z"))
    borders = whole.split.model_copy(update={"end": datetime(2024, 1, 4, tzinfo=UTC)})
    ended = whole.model_copy(update={"split": borders})
    cut, uncut = (split(table(series(100)), each) for each in (ended, whole))
    assert len(cut.train) == len(uncut.train)
    assert len(cut.validation) == len(uncut.validation)
    assert cut.test.clock[ahead(cut.test).max()] == np.datetime64("2024-01-03T23:00:00")
    assert uncut.test.clock[ahead(uncut.test).max()] == START + 99 * HOUR


def test_shares_are_of_the_time_up_to_the_end():
    borders = {"validation": 0.25, "test": 0.25, "end": "2024-01-05T00:00:00Z"}
    plan = Recipe.model_validate(recipe().model_dump() | {"split": borders})
    cut = split(table(series(200)), plan)
    assert cut.test.times(np.array([0]))[0] == np.datetime64("2024-01-04T00:00:00")
    assert cut.validation.times(np.array([0]))[0] == np.datetime64("2024-01-03T00:00:00")
