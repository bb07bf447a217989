"""Cycles of the calendar: what Python's own datetime says of the same times, whatever the step."""

import calendar
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.calendar import Cycle, cycle_columns, cycle_features, stands_still
from models.frequency import Frequency

CYCLES = get_args(Cycle)
UNITS = ["s", "min", "h", "d", "w", "me", "mo", "q", "y"]
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
STARTS = st.datetimes(datetime(1, 1, 3), datetime(7500, 1, 1), timezones=ZONES)  # noqa: DTZ001
FREQUENCIES = st.builds(Frequency, st.integers(1, 40), st.sampled_from(UNITS))


def phase(cycle, time: datetime) -> float:
    """Return the share of the cycle that has passed, by datetime alone."""
    midnight = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "minute": time.minute / 60,
        "hour": time.hour / 24,
        "time_of_day": (time - midnight) / timedelta(days=1),
        "weekday": time.weekday() / 7,
        "day_of_month": (time.day - 1) / calendar.monthrange(time.year, time.month)[1],
        "day_of_year": (time.timetuple().tm_yday - 1) / (365 + calendar.isleap(time.year)),
        "month": (time.month - 1) / 12,
    }[cycle]


def by_hand(times, cycles) -> np.ndarray:
    angles = [[2 * math.pi * phase(cycle, time) for cycle in cycles] for time in times]
    waves = [[wave(angle) for angle in row for wave in (math.sin, math.cos)] for row in angles]
    return np.array(waves, np.float32)


@given(STARTS, FREQUENCIES, st.integers(1, 60))
def test_the_features_are_those_of_datetime_in_utc_for_every_frequency(start, frequency, count):
    steps = [frequency.step(start, step).astimezone(UTC) for step in range(count)]
    found = cycle_features(frequency.times(start, count), CYCLES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(steps, CYCLES), atol=1e-6)


@given(STARTS, FREQUENCIES, st.integers(1, 60))
def test_the_times_are_the_steps_of_the_frequency_in_utc(start, frequency, count):
    steps = [frequency.step(start, step).astimezone(UTC) for step in range(count)]
    expected = np.array([step.replace(tzinfo=None) for step in steps], "datetime64[us]")
    assert (frequency.times(start, count) == expected).all()


@given(FREQUENCIES, st.integers(2, 400))
def test_times_past_the_calendar_are_refused_as_steps_are(frequency, count):
    start = datetime(9999, 12, 1, tzinfo=UTC)
    try:
        frequency.step(start, count - 1)
    except OverflowError:
        with pytest.raises(OverflowError):
            frequency.times(start, count)
    else:
        assert len(frequency.times(start, count)) == count


def test_each_cycle_is_two_named_columns_and_no_cycle_none():
    times = np.array([["2024-01-01", "2024-07-02"]], "datetime64[D]")
    assert cycle_columns(("hour", "month")) == ("hour_sin", "hour_cos", "month_sin", "month_cos")
    assert cycle_features(times, ("hour", "month")).shape == (1, 2, 4)
    assert cycle_features(times, ()).shape == (1, 2, 0)
    np.testing.assert_allclose(cycle_features(times, ("month",))[0], [[0, 1], [0, -1]], atol=1e-6)


@given(st.sampled_from(CYCLES), FREQUENCIES)
def test_a_cycle_that_is_said_to_stand_still_does(cycle, frequency):
    assume(stands_still(cycle, frequency))
    times = frequency.times(datetime(2023, 1, 31, 7, 33, tzinfo=UTC), 50)
    assert np.ptp(cycle_features(times, (cycle,)), axis=0).max() == 0


@pytest.mark.parametrize(
    ("cycle", "frequency", "still"),
    [
        ("hour", "1d", True),
        ("hour", "36h", False),
        ("hour", "1mo", True),
        ("minute", "1h", True),
        ("minute", "15min", False),
        ("weekday", "2w", True),
        ("weekday", "1mo", False),
        ("month", "1h", False),
    ],
)
def test_what_no_step_can_tell_apart_stands_still(cycle, frequency, still):
    assert stands_still(cycle, Frequency.parse(frequency)) is still
