"""Frequencies, of fixed steps or of the calendar: parsing, stepping, and their season."""

import calendar
import re
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

_PATTERN = re.compile(r"^([1-9][0-9]{0,5})?(s|min|h|d|w|me|mo|q|y)$", re.ASCII)
_TIME = re.compile(r"[0-9Ww:.,+-]+([Tt ][0-9:.,+-]+[Zz]?)?", re.ASCII)
_FIXED = {
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_MONTHS = {"mo": 1, "me": 1, "q": 3, "y": 12}
_DAY, _WEEK, _YEAR = timedelta(days=1), timedelta(weeks=1), timedelta(days=365.2425)


@dataclass(frozen=True, slots=True)
class Frequency:
    """
    The distance between two steps, such as ``15min``, ``1h``, ``1d``, ``1w``, ``1mo`` or ``1y``.

    ``1mo`` keeps the day of the month, ``1me`` is the last day of each month.
    """

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Frequency":
        """Read a frequency; raise ValueError naming the accepted forms."""
        match = _PATTERN.match(text.strip().lower())
        if match is None:
            raise ValueError(
                f"{text!r} is not a frequency; write a count and one of s, min, h, d, w, "
                f"mo (month), me (month end), q, y, such as 15min or 1h"
            )
        return cls(int(match[1] or 1), match[2])

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"

    @property
    def fixed(self) -> timedelta | None:
        """The exact length of a step, or None where it depends on the calendar."""
        return _FIXED[self.unit] * self.count if self.unit in _FIXED else None

    @property
    def months(self) -> int | None:
        """The months of a step, or None where its length is fixed."""
        return _MONTHS[self.unit] * self.count if self.unit in _MONTHS else None

    def steps_like(self, other: "Frequency") -> bool:
        """Whether both have steps of the same length, as 60min and 1h, or 1mo and 1me, have."""
        return (self.fixed, self.months) == (other.fixed, other.months)

    def step(self, start: datetime, steps: int) -> datetime:
        """Return the time ``steps`` steps after ``start``; raise OverflowError past year 9999."""
        if self.unit in _FIXED:
            return start + _FIXED[self.unit] * (self.count * steps)
        month = start.year * 12 + start.month - 1 + _MONTHS[self.unit] * self.count * steps
        year, month = month // 12, month % 12 + 1
        if not MINYEAR <= year <= MAXYEAR:
            raise OverflowError("date value out of range")
        last = calendar.monthrange(year, month)[1]
        day = last if self.unit == "me" else min(start.day, last)
        return start.replace(year=year, month=month, day=day)

    def times(self, start: datetime, count: int) -> NDArray[np.datetime64]:
        """Return ``step(start, 0)``, ``step(start, 1)``, ... in UTC; raise as ``step``."""
        self.step(start, count - 1)
        local = np.datetime64(start.replace(tzinfo=None), "us")
        steps = np.arange(count)
        if self.unit in _FIXED:
            times = local + steps * np.timedelta64(_FIXED[self.unit] * self.count, "us")
        else:
            day = local.astype("datetime64[D]")
            months = day.astype("datetime64[M]") + steps * (_MONTHS[self.unit] * self.count)
            first = months.astype("datetime64[D]")
            last = (months + 1).astype("datetime64[D]") - 1
            same = np.minimum(first + np.timedelta64(start.day - 1, "D"), last)
            times = (last if self.unit == "me" else same) + (local - day)
        return times - np.timedelta64(start.utcoffset() or timedelta(0), "us")

    @property
    def season(self) -> int:
        """
        The season, in steps, that a naive forecast repeats when nobody says otherwise.

        Of the seasons usual for a frequency (Hyndman and Athanasopoulos, "Forecasting: Principles
        and Practice", 3rd ed., 2.1) this is a day for what is faster than a day, a week for days,
        a year for weeks, months and quarters, and 1 for years.
        """
        if self.unit in _MONTHS:
            return max(1, round(12 / (_MONTHS[self.unit] * self.count)))
        step = _FIXED[self.unit] * self.count
        cycle = _DAY if step < _DAY else _WEEK if step < _WEEK else _YEAR
        return max(1, round(cycle / step))


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 time; one without an offset is taken as UTC. Raise ValueError."""
    if not _TIME.fullmatch(text):  # Python lets anything stand between day and hour
        raise ValueError(f"no ISO 8601 time: {text[:40]!r}")
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def format_time(time: datetime) -> str:
    """Write a time as ISO 8601, with ``Z`` for UTC."""
    text = time.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text
