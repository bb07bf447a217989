"""The column ``ds``: times in order, and how they go on; knows the frequency, not the model."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.frequency import Frequency
from service.http.errors import InvalidRequest
from service.http.schemas.arrow.series import SeriesIndex

TIME = "ds"
UTC_ZONES = (None, "UTC", "Etc/UTC", "+00:00")

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  counted in the column's own zone, which is UTC
_MICROSECOND, _DAY = timedelta(microseconds=1), timedelta(days=1)
# Ticks of each type, as a fraction of microseconds: (ns) 1 / 1000.
_UNITS = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}


def check_type(kind: pa.DataType, frequency: Frequency) -> None:
    """Raise InvalidRequest unless a column of this type can hold times and how they go on."""
    if pa.types.is_date(kind):
        if frequency.fixed is not None and frequency.fixed % _DAY:
            raise InvalidRequest(TIME, f"a date cannot hold steps of {frequency}; send timestamps")
    elif not pa.types.is_timestamp(kind):
        raise InvalidRequest(TIME, f"expected timestamps or dates, got {kind!s:.64}")
    elif kind.tz not in UTC_ZONES:
        raise InvalidRequest(TIME, "expected times in UTC or without a time zone")


def go_on(
    column: pa.ChunkedArray, series: SeriesIndex, frequency: Frequency, horizon: int
) -> pa.Array:
    """
    Return the times of the forecasts, (series * horizon,), in the column's own type.

    They are counted from the first time of a series where that leads to its last one, else from
    the last, as where months end on the 28th first.  Raises InvalidRequest for a time that is not
    one step after the one before: what the model has learned are steps of its frequency.
    """
    if column.null_count:
        row = int(column.is_null().to_numpy().argmax())
        raise InvalidRequest(series.place_of(row, TIME), "expected a time, got null")
    ticks, starts, ends = _ticks(column), series.bounds[:-1], series.bounds[1:]
    clock = _Clock(column.type, frequency, horizon)
    follows = np.append(True, clock.follow(ticks))
    follows[starts] = True
    if not follows.all():
        row = int(follows.argmin())
        expected = (
            "a later time than the one before"
            if ticks[row] <= ticks[row - 1]
            else f"a time {frequency} after the one before; for a missing step send a row with null"
        )
        raise InvalidRequest(series.place_of(row, TIME), f"expected {expected}")
    out: list[int] = []
    known: dict[tuple[int, int, int], list[int]] = {}  # a table is often many of the same times
    lengths = (ends - starts).tolist()
    spans = zip(ticks[starts].tolist(), ticks[ends - 1].tolist(), lengths, strict=True)
    for number, span in enumerate(spans):
        if span not in known:
            try:
                known[span] = clock.after(*span)
            except OverflowError:
                raise InvalidRequest(
                    f"{series.place(number)}, {TIME}", "the forecast would leave the calendar"
                ) from None
        out += known[span]
    return _column(out, column.type)


def moments(column: pa.ChunkedArray | pa.Array) -> NDArray[np.datetime64]:
    """Return times or dates that ``go_on`` took or gave, in UTC."""
    found: NDArray[np.datetime64] = column.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    return found


class _Clock:
    """Steps of a frequency in the ticks of a column's type."""

    def __init__(self, kind: pa.DataType, frequency: Frequency, horizon: int) -> None:
        self._frequency = frequency
        self._horizon = horizon
        if pa.types.is_date32(kind):
            self._unit, self._times, self._over = "D", _DAY // _MICROSECOND, 1
        else:
            self._unit = "ms" if pa.types.is_date64(kind) else kind.unit
            self._times, self._over = _UNITS[self._unit]

    def follow(self, ticks: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return of each tick but the first whether it is a step after the one before."""
        fixed, step = self._frequency.fixed, self._frequency.months
        if fixed is not None:
            step = fixed // _MICROSECOND * self._over // self._times
        else:  # of steps of the calendar the day may differ: a 31st is followed by a 30th
            ticks = ticks.view(f"M8[{self._unit}]").astype("M8[M]").astype(np.int64)
        follow: NDArray[np.bool_] = np.diff(ticks) == step
        return follow

    def after(self, first: int, last: int, length: int) -> list[int]:
        """Return the horizon's ticks; raise OverflowError past the calendar."""
        origin, done = first, length - 1
        if self._step(first, done) != last:
            origin, done = last, 0
        return [self._step(origin, done + step) for step in range(1, self._horizon + 1)]

    def _step(self, tick: int, steps: int) -> int:
        microseconds, rest = divmod(tick * self._times, self._over)
        time = self._frequency.step(_EPOCH + timedelta(microseconds=microseconds), steps)
        return ((time - _EPOCH) // _MICROSECOND * self._over + rest) // self._times


def _ticks(column: pa.ChunkedArray) -> NDArray[np.int64]:
    small = column.cast(pa.int32()) if pa.types.is_date32(column.type) else column
    ticks: NDArray[np.int64] = small.cast(pa.int64()).to_numpy()
    return ticks


def _column(ticks: list[int], kind: pa.DataType) -> pa.Array:
    """Return ticks as times; raise InvalidRequest where the type ends before the calendar."""
    width = np.int32 if pa.types.is_date32(kind) else np.int64
    try:
        return pa.array(np.array(ticks, width)).view(kind)
    except OverflowError:
        raise InvalidRequest(TIME, f"the forecast would leave what {kind} can hold") from None
