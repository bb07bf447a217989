"""From a long table with a label to whole series and their classes; splits and scales nothing."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.classify.recipe import LabelledData
from training.data import ID, TIME, read_numbers, read_texts, read_times
from training.errors import DataError
from training.sources import ROW, Frame, read

LABEL = "__label__"


@dataclass(frozen=True, slots=True)
class Labelled:
    """All series of one source, each with its class."""

    source: str
    sha256: str
    rows: int
    ids: tuple[str, ...]
    series: tuple[NDArray[np.float32], ...]  # each (time, columns); NaN is a missing value
    labels: NDArray[np.int64]  # (series,), an index into the classes
    classes: tuple[str, ...]  # in the order of their names

    @property
    def missing(self) -> bool:
        """Whether a value is NaN."""
        return any(bool(np.isnan(each).any()) for each in self.series)

    @property
    def lengths(self) -> tuple[int, int]:
        """The shortest and the longest series, in steps."""
        steps = [len(each) for each in self.series]
        return min(steps), max(steps)


def read_labelled(recipe: LabelledData) -> Labelled:
    """
    Read and check a table: one row per series and step, the label constant within a series.

    Raises DataError naming file, row and column.  An empty number is a missing value, an empty
    id or label is not allowed.
    """
    frame = read(recipe.source)
    ordered = (recipe.time,) if recipe.time else ()
    frame.require((recipe.id, recipe.label, *ordered, *recipe.features))
    rows = _typed(frame, recipe)
    _refuse_blank(rows, ID, recipe.id, "the row names no series", frame)
    _refuse_blank(rows, LABEL, recipe.label, "the row has no label", frame)
    _refuse_change(rows, frame, recipe)
    if recipe.time:
        rows = rows.sort(ID, TIME, maintain_order=True)
        _refuse_twice(rows, frame, recipe.time)
    parts = rows.partition_by(ID, maintain_order=True)
    names = [str(part[LABEL][0]) for part in parts]
    classes = tuple(sorted(set(names)))
    if len(classes) < 2:  # noqa: PLR2004
        found = f"only {classes[0]!r}" if classes else "none"
        raise DataError(
            frame.source,
            f"two classes or more are needed, there is {found}",
            column=recipe.label,
            advice="Give at least three series of each of two classes.",
        )
    return Labelled(
        frame.source,
        frame.sha256,
        len(rows),
        tuple(str(part[ID][0]) for part in parts),
        tuple(_values(part, frame, recipe) for part in parts),
        np.array([classes.index(name) for name in names], dtype=np.int64),
        classes,
    )


def _typed(frame: Frame, recipe: LabelledData) -> pl.DataFrame:
    """Return ROW, ID, LABEL, the features and, if one is named, TIME, in the order they stand."""
    return frame.rows.select(
        pl.col(ROW),
        read_texts(frame.rows[recipe.id]).str.strip_chars().alias(ID),
        read_texts(frame.rows[recipe.label]).str.strip_chars().alias(LABEL),
        *([read_times(frame, recipe.time).alias(TIME)] if recipe.time else []),
        *(read_numbers(frame, column) for column in recipe.features),
    )


def _refuse_blank(rows: pl.DataFrame, key: str, column: str, problem: str, frame: Frame) -> None:
    blank = rows.filter(pl.col(key).is_null() | (pl.col(key) == ""))
    if blank.height:
        raise DataError(
            frame.source,
            problem,
            row=blank[ROW][0],
            column=column,
            advice="Fill the column, or drop the row.",
        )


def _refuse_change(rows: pl.DataFrame, frame: Frame, recipe: LabelledData) -> None:
    first = pl.col(LABEL).first().over(ID)
    changed = rows.with_columns(first.alias("first")).filter(pl.col(LABEL) != pl.col("first"))
    if changed.height:
        name, label, before = changed.row(0, named=True), changed[LABEL][0], changed["first"][0]
        raise DataError(
            frame.source,
            f"series {name[ID]!r} is labelled {before!r} first and {label!r} here",
            row=changed[ROW][0],
            column=recipe.label,
            advice="Give each series one label; where it changes, cut the series in two.",
        )


def _refuse_twice(rows: pl.DataFrame, frame: Frame, column: str) -> None:
    twice = rows.filter(pl.struct(ID, TIME) == pl.struct(ID, TIME).shift(1))
    if twice.height:
        raise DataError(
            frame.source,
            f"{twice[TIME][0]!s:.19} comes twice in series {twice[ID][0]!r}",
            row=twice[ROW][0],
            column=column,
            advice="Keep one row for each time of a series.",
        )


def _values(rows: pl.DataFrame, frame: Frame, recipe: LabelledData) -> NDArray[np.float32]:
    values = np.stack([rows[column].to_numpy() for column in recipe.features], axis=1)
    values = values.astype(np.float32)
    if np.isnan(values).all():
        raise DataError(
            frame.source,
            f"series {rows[ID][0]!r} has no value at all",
            row=rows[ROW][0],
            column=recipe.features[0],
            advice="Drop the series, or fill it.",
        )
    return values
