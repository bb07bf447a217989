"""
Cycles of the calendar as known covariates, a sine and a cosine each, computed in UTC.

Training and serving both use this code.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.frequency import Frequency

Cycle = Literal["minute", "hour", "time_of_day", "weekday", "day_of_month", "day_of_year", "month"]
Times = NDArray[np.datetime64]
Phase = NDArray[np.float64]

_PERIODS = {
    "minute": timedelta(hours=1),
    "hour": timedelta(days=1),
    "time_of_day": timedelta(days=1),
    "weekday": timedelta(weeks=1),
}


def cycle_columns(cycles: Sequence[Cycle]) -> tuple[str, ...]:
    """Name the columns of ``cycle_features``."""
    return tuple(f"{cycle}_{part}" for cycle in cycles for part in ("sin", "cos"))


def cycle_features(times: Times, cycles: Sequence[Cycle]) -> NDArray[np.float32]:
    """
    Return (..., 2 * cycles) of times (...) in UTC: of each cycle sin(2 pi phase), cos(2 pi phase).

    A phase is the share of the cycle that has passed.  ``minute``, ``hour``, ``weekday`` (from
    Monday) and ``month`` count whole ones; ``time_of_day`` runs on through the day;
    ``day_of_month`` and ``day_of_year`` count days from 0, divided by the days of that very month
    or year.
    """
    moments = times.astype("datetime64[us]")
    angles = [2 * np.pi * _PHASES[cycle](moments) for cycle in cycles]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    if not waves:
        return np.empty((*times.shape, 0), np.float32)
    return np.stack(waves, axis=-1).astype(np.float32)


def stands_still(cycle: Cycle, frequency: Frequency) -> bool:
    """Whether every step of the frequency is at the same phase of the cycle."""
    period = _PERIODS.get(cycle)
    if period is None:
        return False
    if frequency.fixed is None:
        return cycle != "weekday"
    return not frequency.fixed % period


def _minute(times: Times) -> Phase:
    whole: Phase = (times - times.astype("datetime64[h]")) // np.timedelta64(1, "m") / 60
    return whole


def _hour(times: Times) -> Phase:
    whole: Phase = (times - times.astype("datetime64[D]")) // np.timedelta64(1, "h") / 24
    return whole


def _time_of_day(times: Times) -> Phase:
    share: Phase = (times - times.astype("datetime64[D]")) / np.timedelta64(1, "D")
    return share


def _weekday(times: Times) -> Phase:
    days = times.astype("datetime64[D]").astype(np.int64)
    return (days + 3) % 7 / 7  # 1970 began on a Thursday


def _day_of(unit: Literal["M", "Y"]) -> Callable[[Times], Phase]:
    def phase(times: Times) -> Phase:
        whole = times.astype(f"datetime64[{unit}]")
        first, following = whole.astype("datetime64[D]"), (whole + 1).astype("datetime64[D]")
        share: Phase = (times.astype("datetime64[D]") - first) / (following - first)
        return share

    return phase


def _month(times: Times) -> Phase:
    return times.astype("datetime64[M]").astype(np.int64) % 12 / 12


_PHASES: dict[str, Callable[[Times], Phase]] = {
    "minute": _minute,
    "hour": _hour,
    "time_of_day": _time_of_day,
    "weekday": _weekday,
    "day_of_month": _day_of("M"),
    "day_of_year": _day_of("Y"),
    "month": _month,
}
