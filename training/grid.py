"""Check the times of a series against its frequency, and fill gaps if asked; reads no files."""

from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from models.frequency import Frequency
from training.errors import DataError
from training.recipe import DataRecipe

_SPARSE = 1_000  # steps per row, beyond which gaps are not filled
_SMALL = 1_000_000  # steps that are filled in any case

Times = NDArray[np.datetime64]
Values = NDArray[np.float32]


def regular(
    times: Times, values: Values, rows: NDArray[np.uint32], source: str, recipe: DataRecipe
) -> tuple[Times, Values]:
    """
    Return sorted times (time,) and values (time, columns) without a gap.

    Raises DataError for a time that occurs twice, is off the grid or, unless the recipe fills
    gaps, is missing; and for a series too sparse to be filled.
    """
    frequency = Frequency.parse(recipe.frequency)
    _refuse_twice(times, rows, source, recipe)
    steps = _steps(times, frequency)
    off = steps < 0
    if off.any():
        bad = int(off.argmax())
        days = frequency.fixed is None or frequency.fixed % timedelta(days=1) == timedelta(0)
        raise DataError(
            source,
            f"{times[bad]!s:.19} is not a whole number of {frequency} steps after {times[0]!s:.19}",
            row=int(rows[bad]),
            column=recipe.time,
            advice="Give the frequency the table really has, or resample the table to it"
            + ("; write local days, some of 23 hours, as dates without a time." if days else "."),
        )
    if len(steps) == steps[-1] + 1:
        return times, values
    if recipe.fill == "none":
        _refuse_gap(times, steps, rows, source, recipe)
    _refuse_sparse(steps, source, recipe)
    return _fill(times, values, steps, frequency, recipe.fill)


def _refuse_twice(times: Times, rows: NDArray[np.uint32], source: str, recipe: DataRecipe) -> None:
    twice = np.diff(times) == np.timedelta64(0)
    if twice.any():
        bad = int(twice.argmax()) + 1
        advice = "Keep one row for each time" + (
            " of a series." if recipe.id else ", or name the series' column with --id (id = ...)."
        )
        raise DataError(
            source,
            f"{times[bad]!s:.19} comes twice, first in row {rows[bad - 1]}",
            row=int(rows[bad]),
            column=recipe.time,
            advice=advice,
        )


def _refuse_gap(
    times: Times,
    steps: NDArray[np.int64],
    rows: NDArray[np.uint32],
    source: str,
    recipe: DataRecipe,
) -> None:
    before = int((np.diff(steps) > 1).argmax())
    missing = int(steps[before + 1] - steps[before] - 1)
    total = int(steps[-1] + 1 - len(steps))
    raise DataError(
        source,
        f"{missing} {'row is' if missing == 1 else 'rows are'} missing between "
        f"{times[before]!s:.19} and {times[before + 1]!s:.19} ({total} in all of this series)",
        row=int(rows[before + 1]),
        column=recipe.time,
        advice="Fill gaps on purpose with --fill missing, previous or linear (fill = ...)"
        + (", or give the frequency the table really has." if total > len(times) else "."),
    )


def _refuse_sparse(steps: NDArray[np.int64], source: str, recipe: DataRecipe) -> None:
    """Refuse to fill a series that is nearly all gaps, which may not even fit into memory."""
    count = int(steps[-1]) + 1
    if count > max(_SPARSE * len(steps), _SMALL):
        raise DataError(
            source,
            f"{len(steps):,} rows would be filled up to {count:,} steps of {recipe.frequency}",
            column=recipe.time,
            advice="Give the frequency the table really has.",
        )


def _steps(times: Times, frequency: Frequency) -> NDArray[np.int64]:
    """Return each time in steps from the first; -1 where it lies off the grid."""
    if frequency.fixed is not None:
        size = np.timedelta64(int(frequency.fixed.total_seconds()), "s")
        distance = times - times[0]
        whole = (distance % size) == np.timedelta64(0)
        return np.where(whole, distance // size, -1)
    grid = _calendar(times[0], times[-1], frequency)
    place = np.searchsorted(grid, times).clip(max=len(grid) - 1)
    return np.where(grid[place] == times, place, -1)


def _calendar(first: np.datetime64, last: np.datetime64, frequency: Frequency) -> Times:
    """Return the times of a calendar frequency from ``first`` to ``last``; at least one."""
    start, end = (
        time.astype("datetime64[us]").item().replace(tzinfo=UTC) for time in (first, last)
    )
    times = [frequency.step(start, 0)]
    while (following := _following(start, len(times), frequency)) and following <= end:
        times.append(following)
    return np.array([time.replace(tzinfo=None) for time in times], dtype="datetime64[us]")


def _following(start: datetime, steps: int, frequency: Frequency) -> datetime | None:
    try:
        return frequency.step(start, steps)
    except OverflowError:  # past the last year there is
        return None


def _fill(
    times: Times, values: Values, steps: NDArray[np.int64], frequency: Frequency, how: str
) -> tuple[Times, Values]:
    count = int(steps[-1]) + 1
    if frequency.fixed is not None:
        size = np.timedelta64(int(frequency.fixed.total_seconds()), "s")
        full_times = times[0] + np.arange(count) * size
    else:
        full_times = _calendar(times[0], times[-1], frequency)
    full = np.full((count, values.shape[1]), np.nan, dtype=np.float32)
    full[steps] = values
    inserted = np.ones(count, dtype=bool)
    inserted[steps] = False
    if how == "previous":
        source = np.maximum.accumulate(np.where(inserted, 0, np.arange(count)))
        full[inserted] = full[source[inserted]]
    elif how == "linear":
        for column in full.T:
            column[inserted] = np.interp(np.flatnonzero(inserted), steps, column[steps])
    return full_times, full
