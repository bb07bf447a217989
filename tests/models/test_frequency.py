"""Steps of time: how they are written, where they lead, and which season they imply."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.frequency import Frequency, format_time, parse_time

UNITS = ["s", "min", "h", "d", "w", "me", "mo", "q", "y"]
frequencies = st.builds(Frequency, st.integers(1, 999_999), st.sampled_from(UNITS))
times = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def at(text: str) -> datetime:
    return parse_time(text)


@given(frequencies)
def test_what_is_written_is_read_back(frequency):
    assert Frequency.parse(str(frequency)) == frequency


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("h", "1h"), ("15MIN", "15min"), (" 1d ", "1d"), ("Q", "1q"), ("2ME", "2me")],
)
def test_a_frequency_has_many_spellings_and_one_form(text, canonical):
    assert str(Frequency.parse(text)) == canonical


@pytest.mark.parametrize(
    "text",
    ["", "0h", "-1h", "1.5h", "1 h", "1m", "1month", "h1", "1000000s", "01h", "1h\n1h", "\u0661h"],
)
def test_what_is_no_frequency_is_refused_with_the_accepted_forms(text):
    with pytest.raises(ValueError, match=r"is not a frequency; write .* such as 15min"):
        Frequency.parse(text)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("90s", timedelta(seconds=90)),
        ("15min", timedelta(minutes=15)),
        ("6h", timedelta(hours=6)),
        ("1d", timedelta(days=1)),
        ("2w", timedelta(days=14)),
        ("1mo", None),
        ("1me", None),
        ("1q", None),
        ("1y", None),
    ],
)
def test_a_step_has_an_exact_length_unless_the_calendar_decides(text, step):
    assert Frequency.parse(text).fixed == step


@pytest.mark.parametrize(
    ("text", "start", "steps", "end"),
    [
        ("15min", "2024-02-29T23:45", 1, "2024-03-01T00:00"),
        ("1w", "2024-01-01", 52, "2024-12-30"),
        ("1mo", "2024-01-31", 1, "2024-02-29"),
        ("1mo", "2023-01-31", 1, "2023-02-28"),
        ("1mo", "2024-01-31", 2, "2024-03-31"),
        ("1mo", "2024-11-30", 3, "2025-02-28"),
        ("5mo", "2024-12-31T06:30", 12, "2029-12-31T06:30"),
        ("1me", "2024-02-29", 1, "2024-03-31"),
        ("1me", "2024-01-31", 13, "2025-02-28"),
        ("1q", "2024-11-30", 1, "2025-02-28"),
        ("1y", "2024-02-29", 1, "2025-02-28"),
        ("1y", "2024-02-29", 4, "2028-02-29"),
        ("1mo", "2024-03-31", -1, "2024-02-29"),
        ("1d", "2024-03-01", -1, "2024-02-29"),
    ],
)
def test_a_step_of_the_calendar_lands_where_people_expect(text, start, steps, end):
    assert Frequency.parse(text).step(at(start), steps) == at(end)


@given(st.builds(Frequency, st.integers(1, 99), st.sampled_from(UNITS)), times, st.integers(0, 40))
def test_time_never_stands_still(frequency, start, steps):
    walked = [frequency.step(start, number) for number in range(steps, steps + 3)]
    assert walked == sorted(set(walked))


@given(frequencies, st.integers(1, 10**9))
def test_a_step_past_the_last_year_is_an_overflow_and_nothing_else(frequency, steps):
    start = at("9999-12-31T23:59:59")
    with pytest.raises(OverflowError):
        frequency.step(start, steps)


def test_a_step_keeps_the_offset_it_was_given():
    zone = timezone(timedelta(hours=2))
    start = datetime(2024, 1, 31, tzinfo=zone)
    for text in ("1h", "1mo"):
        assert Frequency.parse(text).step(start, 1).tzinfo is zone


@pytest.mark.parametrize(
    ("text", "season"),
    [
        ("1s", 86_400),
        ("15min", 96),
        ("1h", 24),
        ("6h", 4),
        ("1d", 7),
        ("1w", 52),
        ("1mo", 12),
        ("1me", 12),
        ("1q", 4),
        ("1y", 1),
        ("5y", 1),
        ("400d", 1),
    ],
)
def test_a_frequency_implies_a_season(text, season):
    assert Frequency.parse(text).season == season


@given(frequencies)
def test_a_season_is_at_least_one_step(frequency):
    assert frequency.season >= 1


@given(times)
def test_a_time_is_read_back_as_it_was_written(time):
    assert parse_time(format_time(time)) == time


def test_a_time_without_an_offset_is_taken_as_utc():
    assert parse_time("2024-05-01T12:00") == datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert parse_time("2024-05-01T12:00+02:00") == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert format_time(parse_time("2024-05-01")) == "2024-05-01T00:00:00Z"
    assert format_time(parse_time("2024-05-01T00:00+00:00:30")) == "2024-05-01T00:00:00+00:00:30"


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2024-13-01", "2024-02-30", "12", "2024-05-01x00:00"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)
