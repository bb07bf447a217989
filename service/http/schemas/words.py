"""The words that KServe has for the distance between two steps."""

import re
from functools import lru_cache

from models.frequency import Frequency

_LETTERS = {"S": "s", "T": "min", "H": "h", "D": "d", "W": "w", "M": "mo", "Q": "q", "Y": "y"}
_WORDS = {
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
    "week": "w",
    "month": "mo",
    "quarter": "q",
    "year": "y",
}
_UNITS = _LETTERS | _WORDS
_COUNTED = re.compile(
    rf"([1-9][0-9]{{0,5}})? ?(?:([{''.join(_LETTERS)}])|({'|'.join(_WORDS)})s?)", re.ASCII
)


@lru_cache(256)
def read_frequency(text: str) -> Frequency:
    """
    Read ``hour``, ``H``, ``15 minutes``, ``15T``, or what a card may say; raise ValueError.

    A capital means what it means to KServe, so that M is a month.
    """
    match = _COUNTED.fullmatch(text)
    if match is None:
        return Frequency.parse(text)
    return Frequency(int(match[1] or 1), _UNITS[match[2] or match[3]])
