"""KServe's words for a frequency."""

import pytest

from models.frequency import Frequency
from service.http.schemas.words import read_frequency


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("second", "1s"),
        ("S", "1s"),
        ("T", "1min"),
        ("15T", "15min"),
        ("15 minutes", "15min"),
        ("hour", "1h"),
        ("H", "1h"),
        ("2 days", "2d"),
        ("W", "1w"),
        ("month", "1mo"),
        ("M", "1mo"),
        ("3M", "3mo"),
        ("quarter", "1q"),
        ("Q", "1q"),
        ("years", "1y"),
        ("Y", "1y"),
        ("15min", "15min"),
        ("1me", "1me"),
        ("5s", "5s"),
    ],
)
def test_a_word_is_a_frequency(text, meaning):
    assert str(read_frequency(text)) == meaning


@pytest.mark.parametrize(
    "text", ["", "m", "0 hours", "hourss", "1.5 hours", "hour ", "-1D", "\uff11D"]
)
def test_what_is_no_word_is_no_frequency(text):
    with pytest.raises(ValueError, match="is not a frequency"):
        read_frequency(text)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("60min", "1h", True),
        ("7d", "1w", True),
        ("1mo", "1me", True),
        ("3mo", "1q", True),
        ("4q", "1y", True),
        ("30d", "1mo", False),
        ("1mo", "4w", False),
        ("1h", "1d", False),
        ("1y", "365d", False),
    ],
)
def test_frequencies_of_one_distance_step_alike(one, other, alike):
    assert Frequency.parse(one).steps_like(Frequency.parse(other)) == alike
    assert Frequency.parse(other).steps_like(Frequency.parse(one)) == alike
