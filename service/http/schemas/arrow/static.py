"""Static covariates in a table: columns that have one value in all rows of a series."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.contract import ModelCard
from models.covariates import Values, encode_static
from service.http.errors import InvalidRequest
from service.http.schemas.arrow.series import SeriesIndex, encode, is_text
from service.http.schemas.covariates import check_static


def check_type(kind: pa.DataType, name: str) -> None:
    """Raise InvalidRequest unless a column of this type can hold categories."""
    if not is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
        raise InvalidRequest(f"column {name!r:.66}", f"expected strings, got {kind!s:.64}")


def read(table: pa.Table, series: SeriesIndex, card: ModelCard) -> list[Values]:
    """
    Return the static columns of each series, (columns,).

    Raises InvalidRequest for null, for what changes within a series, and for what the card does
    not know.
    """
    values = {
        name: _constant(table.column(name), series, name, texts=categories is not None)
        for name, categories in card.static.items()
    }
    rows = [
        {name: column[number] for name, column in values.items()}
        for number in range(len(series.ids))
    ]
    for number, row in enumerate(rows):
        for name, categories in card.static.items():
            check_static(row[name], categories, f"{series.place(number)}, {name:.64}")
    return [encode_static(card.static, row) for row in rows]


def _constant(
    column: pa.ChunkedArray, series: SeriesIndex, name: str, *, texts: bool
) -> list[str] | list[float]:
    """Return the one value of each series."""
    codes: NDArray[np.int64] | NDArray[np.float64]
    if texts:
        codes, meaning = encode(column, name, "a text")
    elif column.null_count:
        row = int(column.is_null().to_numpy().argmax())
        raise InvalidRequest(series.place_of(row, name), "expected a number, got null")
    else:
        codes = column.cast(pa.float64(), safe=False).to_numpy()
    first = codes[series.bounds[:-1]]
    other = codes != np.repeat(first, np.diff(series.bounds))
    if other.any():
        place = series.place_of(int(other.argmax()), name)
        raise InvalidRequest(place, "expected the value of the series' first row")
    found: list[str] | list[float] = (
        meaning.take(pa.array(first)).to_pylist() if texts else first.tolist()
    )
    return found
