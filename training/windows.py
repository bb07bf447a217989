"""Windows over series, by index, split by time; nothing is copied until a batch is made."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from training.data import Table
from training.errors import DataError
from training.recipe import Recipe

Rows = NDArray[np.int64]

_PARTS = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows gathered side by side."""

    sequences: NDArray[np.float32]  # (batch, time, columns), zeros right of each length
    lengths: NDArray[np.int64]  # (batch,)
    future: NDArray[np.float32]  # (batch, horizon, known)
    actuals: NDArray[np.float32]  # (batch, horizon, targets)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """
    Some windows over one array of values: each is the index of its last observed step.

    All parts of a split share the array; windows are gathered from it batch by batch.
    """

    values: NDArray[np.float32]  # (all steps of all series, columns)
    clock: NDArray[np.datetime64]  # (all steps of all series,)
    origins: Rows  # (windows,) last observed step
    first: Rows  # (windows,) first step of the window's series
    max_length: int
    horizon: int
    targets: int
    known: int

    def __len__(self) -> int:
        return len(self.origins)

    def available(self, rows: Rows) -> Rows:
        """Return how many steps each window could read, at most ``max_length``."""
        steps: Rows = np.minimum(self.origins[rows] - self.first[rows] + 1, self.max_length)
        return steps

    def times(self, rows: Rows) -> NDArray[np.datetime64]:
        """Return the time of each window's first forecast step."""
        return self.clock[self.origins[rows] + 1]

    def typical_change(self) -> NDArray[np.float32]:
        """
        Return (targets,): the root mean square change from the origin to the steps ahead of it.

        That is the RMSE of repeating the last value; NaN for a target without any change observed.
        """
        last = self.values[self.origins, : self.targets]
        squares, count = np.zeros(self.targets), np.zeros(self.targets)
        for step in range(1, self.horizon + 1):
            change = self.values[self.origins + step, : self.targets] - last
            squares += np.nansum(np.square(change, dtype=np.float64), axis=0)
            count += np.isfinite(change).sum(axis=0)
        with np.errstate(invalid="ignore"):
            return np.sqrt(squares / count).astype(np.float32)

    def batches(self, rows: Rows, size: int) -> Iterator[tuple[Rows, Batch]]:
        """Gather ``size`` windows at a time, each with all the steps it has."""
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield part, self.batch(part, self.available(part))

    def batch(self, rows: Rows, lengths: Rows) -> Batch:
        """Gather windows, each with its last ``lengths`` observed steps."""
        origins = self.origins[rows]
        steps = np.arange(int(lengths.max()))
        index = (origins - lengths + 1)[:, None] + steps  # (batch, time)
        valid = steps < lengths[:, None]
        sequences = self.values[np.where(valid, index, origins[:, None])]
        sequences[~valid] = 0
        ahead = self.values[origins[:, None] + 1 + np.arange(self.horizon)]
        known = ahead[:, :, ahead.shape[2] - self.known :]
        return Batch(sequences, lengths, known, ahead[:, :, : self.targets])


def spread_rows(count: int, most: int) -> Rows:
    """Choose at most so many of ``count`` rows, evenly from the first to the last."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of the time line, and the last time of the first two."""

    train: Windows
    validation: Windows
    test: Windows
    borders: dict[str, datetime]


def split(table: Table, recipe: Recipe) -> Split:
    """
    Cut the time line, for all series at the same times, into training, validation and test.

    A window belongs to the part that holds its whole horizon; its look-back may reach over
    the border.  Windows without any actual are left out.  Raises DataError for an empty part,
    and for one in which a target is never observed.
    """
    values = np.concatenate([series.values for series in table.series])
    clock = np.concatenate([series.times for series in table.series])
    origins, first = _origins(table, recipe)
    cuts = _cuts(table, recipe)
    starts, ends = clock[origins + 1], clock[origins + recipe.horizon]
    seen, complete = _observed(values, origins, recipe)
    inside = {
        "train": ends < cuts[0],
        "validation": (starts >= cuts[0]) & (ends < cuts[1]),
        "test": (starts >= cuts[1]) & (ends < cuts[2]),
    }
    parts = {}
    for part, chosen in inside.items():
        mask = chosen & complete & seen.any(1)
        if not mask.any():
            raise _too_few(table, recipe, part)
        _refuse_unseen(seen[mask], table, recipe, part)
        parts[part] = Windows(
            values,
            clock,
            origins[mask],
            first[mask],
            recipe.lengths[1],
            recipe.horizon,
            len(recipe.data.targets),
            len(recipe.data.ahead),
        )
    borders = {
        name: _utc(clock[clock < cut].max())
        for name, cut in zip(("train", "validation"), cuts, strict=False)
    }
    return Split(**parts, borders=borders)


def training_part(table: Table, borders: dict[str, datetime]) -> NDArray[np.float32]:
    """Return the values (rows, columns) of all series up to the training part's last time."""
    last = np.datetime64(borders["train"].replace(tzinfo=None), "us")
    return np.concatenate([series.values[series.times <= last] for series in table.series])


def trained_on(table: Table, parts: Split) -> list[NDArray[np.float32]]:
    """Return the targets (steps, targets) of each series that training saw, validation too."""
    last = np.datetime64(parts.borders["validation"].replace(tzinfo=None), "us")
    count = parts.train.targets
    return [series.values[series.times <= last, :count] for series in table.series]


def _origins(table: Table, recipe: Recipe) -> tuple[Rows, Rows]:
    """List the origins with enough steps before them and a whole horizon after them."""
    shortest, offset = recipe.lengths[0], 0
    origins, first = [], []
    for series in table.series:
        count = len(series.times) - recipe.horizon - shortest + 1
        if count > 0:
            origins.append(offset + shortest - 1 + np.arange(count))
            first.append(np.full(count, offset))
        offset += len(series.times)
    if not origins:
        raise _too_few(table, recipe, "train")
    return np.concatenate(origins), np.concatenate(first)


def _cuts(table: Table, recipe: Recipe) -> tuple[np.datetime64, np.datetime64, np.datetime64]:
    """Return the first times of validation and of test, and of what is not used."""
    start = min(series.times[0] for series in table.series)
    end = max(series.times[-1] for series in table.series)
    after = end + np.timedelta64(1, "us")
    if recipe.split.end is not None:
        after = end = _instant(recipe.split.end)
    whole = end - start

    def cut(border: float | datetime, share_after: float) -> np.datetime64:
        if isinstance(border, datetime):
            return _instant(border)
        return np.datetime64(end - np.timedelta64(int(whole.astype(int) * share_after), "us"), "us")

    validation, test = recipe.split.validation, recipe.split.test
    last = cut(test, test if isinstance(test, float) else 0.0)
    if isinstance(validation, float):
        kept = (end - last).astype(int) / max(1, whole.astype(int))
        return cut(validation, validation + kept), last, after
    return cut(validation, 0.0), last, after


def _instant(time: datetime) -> np.datetime64:
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "us")


def _observed(
    values: NDArray[np.float32], origins: Rows, recipe: Recipe
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """
    Look at the horizon of each origin.

    Returns (windows, targets), whether the target has an actual there, and (windows,), whether
    all known covariates are complete there.
    """
    absent = np.isnan(values)
    blank = absent[:, values.shape[1] - len(recipe.data.ahead) :].any(1, keepdims=True)
    there = np.concatenate([~absent[:, : len(recipe.data.targets)], blank], axis=1)
    totals = np.concatenate([np.zeros((1, there.shape[1]), int), np.cumsum(there, axis=0)])
    ahead = totals[origins + 1 + recipe.horizon] - totals[origins + 1]
    return ahead[:, :-1] > 0, ahead[:, -1] == 0


def _refuse_unseen(seen: NDArray[np.bool_], table: Table, recipe: Recipe, part: str) -> None:
    for number, target in enumerate(recipe.data.targets):
        if not seen[:, number].any():
            raise DataError(
                table.source,
                f"the target has no values in the {_PARTS[part]} part",
                column=target,
                advice="Move the borders under [split], or leave the target out.",
            )


def _utc(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


def _too_few(table: Table, recipe: Recipe, part: str) -> DataError:
    longest = max(len(series.times) for series in table.series)
    needed = recipe.lengths[0] + recipe.horizon
    return DataError(
        table.source,
        f"too few rows: no window fits the {_PARTS[part]} part; the longest series has {longest} "
        f"rows, one window needs {needed} ({recipe.lengths[0]} to read, {recipe.horizon} to "
        f"forecast), and each part needs a whole horizon",
        advice="Shorten the horizon or min_length, widen the part by a recipe's [split], or add "
        "rows.",
    )
