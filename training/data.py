"""Read a long table into series on regular times; cuts no windows and scales nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.calendar import cycle_features
from models.covariates import Categories, encode_static, join, static_columns
from training.errors import DataError
from training.grid import regular
from training.recipe import DataRecipe
from training.sources import ROW, Frame, read
from training.static import kinds_of, static_values

ID, TIME = "__id__", "__time__"
_ZONED = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
_NAIVE = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")


@dataclass(frozen=True, slots=True)
class Series:
    """One series on its regular grid of times."""

    id: str
    times: NDArray[np.datetime64]  # (time,) microseconds, UTC
    values: NDArray[np.float32]  # (time, columns); NaN is a missing value


@dataclass(frozen=True, slots=True)
class Table:
    """All series of one source, columns in the order of the model's features."""

    source: str
    sha256: str
    rows: int
    series: tuple[Series, ...]
    columns: tuple[str, ...]
    missing: bool  # whether a value is NaN
    static: Mapping[str, Categories] = field(default_factory=dict)


def read_table(recipe: DataRecipe) -> Table:
    """
    Read, check and order a table: one row per series and time, in any order.

    Raises DataError naming file, row and column.  An empty cell is a missing value; a missing
    row is a gap, and filled only if the recipe says how.
    """
    frame = read(recipe.source)
    named = (recipe.id,) if recipe.id else ()
    frame.require((recipe.time, *named, *recipe.static, *recipe.columns))
    rows = _typed(frame, recipe)
    static = kinds_of(rows, ID, frame.source, recipe)
    series = tuple(
        _series(str(name), part, frame.source, recipe, static)
        for (name,), part in rows.group_by(ID, maintain_order=True)
    )
    if not series:
        raise DataError(frame.source, "the table has no rows", advice="Give at least one series.")
    for number, column in enumerate(recipe.targets):
        _refuse_constant(series, number, column, frame.source)
    missing = any(bool(np.isnan(one.values).any()) for one in series)
    columns = *recipe.targets, *recipe.features, *static_columns(static), *recipe.ahead
    return Table(frame.source, frame.sha256, len(rows), series, columns, missing, static)


def _typed(frame: Frame, recipe: DataRecipe) -> pl.DataFrame:
    """Return ROW, ID, TIME and the value columns, sorted by id and time."""
    identity = read_texts(frame.rows[recipe.id]) if recipe.id else pl.lit("")
    rows = frame.rows.select(
        pl.col(ROW),
        identity.alias(ID),
        read_times(frame, recipe.time).alias(TIME),
        *(read_numbers(frame, column) for column in recipe.columns),
        *(static_values(read_texts(frame.rows[c]), frame, c) for c in recipe.static),
    )
    blank = pl.col(ID).is_null() | (pl.col(ID).str.strip_chars() == "")
    if recipe.id and (without := rows.filter(blank)).height:
        raise DataError(
            frame.source,
            "the row names no series",
            row=without[ROW][0],
            column=recipe.id,
            advice="Fill the column, or drop the row.",
        )
    return rows.sort(ID, TIME, maintain_order=True)


def read_times(frame: Frame, column: str) -> pl.Series:
    """Return the times of a column in UTC, without a zone; raise DataError for other values."""
    values = frame.rows[column]
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone:
            values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        parsed = values.cast(pl.Datetime("us"))
    else:
        texts = read_texts(values).str.strip_chars()
        parsed = _parse_times(_whole_dates(texts) if values.dtype == pl.String else texts)
    if parsed.null_count():
        bad = int(parsed.is_null().arg_max() or 0)
        found = "an empty cell" if values[bad] is None else repr(str(values[bad])[:40])
        raise DataError(
            frame.source,
            f"{found} is not a time",
            row=frame.rows[ROW][bad],
            column=column,
            advice="Write times as ISO 8601, such as 2026-11-23 or 2026-11-23T08:00:00Z.",
        )
    return parsed


def _whole_dates(texts: pl.Series) -> pl.Series:
    """Complete a bare year or month, as ISO 8601 allows, to its first day."""
    return texts.str.replace(r"^(\d{4})$", "${1}-01").str.replace(r"^(\d{4}-\d{2})$", "${1}-01")


def _parse_times(texts: pl.Series) -> pl.Series:
    texts = texts.str.replace(" ", "T", literal=True, n=1)  # as pandas and SQL write it
    parsed = texts.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    for form in (*_NAIVE, *_ZONED):
        if not parsed.null_count():
            return parsed
        other = texts.str.to_datetime(form, strict=False, time_unit="us")
        if form in _ZONED:
            other = other.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        parsed = parsed.zip_with(parsed.is_not_null(), other)
    return parsed


def read_texts(values: pl.Series) -> pl.Series:
    """Return any column as text, so that an error can quote the value."""
    if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Duration):
        texts = [None if each is None else str(each) for each in values.to_list()]
        return pl.Series(values.name, texts, dtype=pl.String)
    return values.cast(pl.String)


def read_numbers(frame: Frame, column: str) -> pl.Series:
    """Return a column as float32, null where missing; raise DataError for other values."""
    values = frame.rows[column]
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        numbers = values.cast(pl.Float64)
        empty = numbers.is_null() | numbers.is_nan().fill_null(value=False)
    else:  # dates and lists too: polars would make numbers of them
        texts = read_texts(values).str.strip_chars()
        empty = texts.is_null() | texts.str.to_lowercase().is_in(["", "na", "nan", "null"])
        truths = texts.str.to_lowercase().replace({"true": "1", "false": "0"})  # as pandas writes
        numbers = truths.cast(pl.Float64, strict=False)
    wrong = ~empty & (
        numbers.is_null() | ~numbers.cast(pl.Float32).is_finite().fill_null(value=False)
    )
    if wrong.any():
        bad = int(wrong.arg_max() or 0)
        text = numbers[bad] is None
        raise DataError(
            frame.source,
            f"{str(values[bad])[:40]!r} is not a number{'' if text else ' that float32 can hold'}",
            row=frame.rows[ROW][bad],
            column=column,
            advice="Write a number such as 12.5, or leave the cell empty if it is missing.",
        )
    return numbers.set(empty, None).cast(pl.Float32).alias(column)


def _series(
    name: str,
    rows: pl.DataFrame,
    source: str,
    recipe: DataRecipe,
    static: Mapping[str, Categories],
) -> Series:
    values = np.stack([rows[column].to_numpy() for column in recipe.columns], axis=1)
    times, values = regular(
        rows[TIME].to_numpy(), values.astype(np.float32), rows[ROW].to_numpy(), source, recipe
    )
    constant = encode_static(static, {column: rows[column][0] for column in static})
    cycles = cycle_features(times, recipe.calendar)
    return Series(name, times, join(values, len(recipe.known), constant, cycles))


def _refuse_constant(series: tuple[Series, ...], number: int, column: str, source: str) -> None:
    lowest = min(np.nanmin(one.values[:, number], initial=np.inf) for one in series)
    highest = max(np.nanmax(one.values[:, number], initial=-np.inf) for one in series)
    if lowest > highest:
        raise DataError(source, "the target has no values", column=column, advice="Fill it in.")
    if lowest == highest:
        raise DataError(
            source,
            f"the target is {lowest:g} in every row, so there is nothing to learn",
            column=column,
            advice="Choose another target, or leave this one out.",
        )
