"""Rates and quotas: their notation and their arithmetic; no clock, no file."""

import re
from dataclasses import dataclass
from typing import Self

SECONDS = {"s": 1, "min": 60, "h": 3_600, "day": 86_400}
MAX_COUNT = 10**12
_WORDS = re.compile(r"(?P<count>[1-9][0-9]{0,12})/(?P<unit>s|min|h|day)", re.ASCII)


def _parse(text: str, units: tuple[str, ...]) -> tuple[int, int]:
    found = _WORDS.fullmatch(text)
    if not found or found["unit"] not in units or int(found["count"]) > MAX_COUNT:
        examples = ", ".join(f"100/{unit}" for unit in units)
        raise ValueError(f"expected a count and a time such as {examples}, got {text[:40]!r}")
    return int(found["count"]), SECONDS[found["unit"]]


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate of requests, of which ``burst`` may come at once."""

    words: str
    interval: int  # nanoseconds between requests that come evenly
    burst: int

    @classmethod
    def parse(cls, text: str, burst: int | None = None) -> Self:
        """Read ``100/s`` or ``600/min``; a burst is by default the count.  Raise ValueError."""
        count, seconds = _parse(text, ("s", "min", "h"))
        return cls(text, max(1, seconds * 10**9 // count), burst or count)

    def next(self, due: int, now: int) -> tuple[int, int]:
        """
        Return when the next request is due if one is taken now, and how long it must wait first.

        Both are nanoseconds: whole numbers, whose sums are exact however many there are.

        This is the generic cell rate algorithm (ITU-T I.371): one number says all that is to be
        remembered.  A ``due`` later than any that this rate can make is of a clock that was put
        back, or of a rate that was lower, and counts as the latest.
        """
        room = self.interval * self.burst
        due = min(max(due, now), now + room) + self.interval
        wait = due - now - room
        return (due, 0) if wait <= 0 else (due - self.interval, wait)


@dataclass(frozen=True, slots=True)
class Quota:
    """A number of requests per hour or day, by UTC."""

    words: str
    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``1000000/day`` or ``1000/h``.  Raise ValueError."""
        return cls(text, *_parse(text, ("h", "day")))

    def period(self, now: float) -> int:
        """Return the number of the current period."""
        return int(now // self.seconds)

    def wait(self, now: float) -> float:
        """Return the seconds until the next period."""
        return self.seconds - now % self.seconds
