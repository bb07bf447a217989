"""Static covariates: columns with one value per series, numbers or categories."""

import polars as pl

from models.covariates import Categories, static_columns
from training.errors import DataError
from training.recipe import DataRecipe
from training.sources import ROW, Frame

MOST_CATEGORIES = 64  # each is a column of its own
_EMPTY = ["", "na", "nan", "null"]


def static_values(texts: pl.Series, frame: Frame, column: str) -> pl.Series:
    """
    Return the column as numbers if every cell is one that float32 can hold, else as texts.

    Raises DataError for an empty cell: what is constant cannot be missing at times.
    """
    texts = texts.str.strip_chars().alias(column)
    empty = texts.is_null() | texts.str.to_lowercase().is_in(_EMPTY)
    if empty.any():
        raise DataError(
            frame.source,
            "the cell is empty, and a static covariate has a value in every row",
            row=frame.rows[ROW][int(empty.arg_max() or 0)],
            column=column,
            advice="Fill it in; for what is not known, a text of your own such as unknown.",
        )
    numbers = texts.cast(pl.Float64, strict=False).cast(pl.Float32)
    return numbers if numbers.is_finite().fill_null(value=False).all() else texts


def kinds_of(
    rows: pl.DataFrame, series: str, source: str, recipe: DataRecipe
) -> dict[str, Categories]:
    """
    Return the categories of each static column, in order, or None where it holds numbers.

    ``series`` is the column of the series' names.  Raises DataError for a series with more than
    one value, for too many categories, and for a category whose column exists already.
    """
    kinds: dict[str, Categories] = {}
    for column in recipe.static:
        _refuse_change(rows, series, source, column)
        kinds[column] = None if rows[column].dtype == pl.Float32 else _categories(rows[column])
        if len(kinds[column] or ()) > MOST_CATEGORIES:
            raise DataError(
                source,
                f"there are {len(kinds[column] or ())} categories, more than {MOST_CATEGORIES}",
                column=column,
                advice="Group them, or leave the column out.",
            )
    names = [*recipe.targets, *recipe.features, *static_columns(kinds), *recipe.ahead]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            source,
            "a category would get a column of this name, and there is one",
            column=twice,
            advice="Rename one of them.",
        )
    return kinds


def _categories(values: pl.Series) -> tuple[str, ...]:
    return tuple(values.unique().sort().to_list())


def _refuse_change(rows: pl.DataFrame, series: str, source: str, column: str) -> None:
    first = rows.select(pl.col(column, ROW).first().over(series))
    other = rows[column] != first[column]
    if other.any():
        bad = int(other.arg_max() or 0)
        raise DataError(
            source,
            f"{rows[column][bad]!r} is not the {first[column][bad]!r} that series "
            f"{rows[series][bad]!r} has in row {first[ROW][bad]}",
            row=rows[ROW][bad],
            column=column,
            advice="Give the series one value, or name the column under --feature (features).",
        )
