"""Which rows of a table are one series: runs of equal ``unique_id``; knows no model."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.http.errors import InvalidRequest
from service.http.schemas.arrow.stream import check_text

ID = "unique_id"

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SeriesIndex:
    """The series of a table, in the order sent."""

    ids: pa.Array  # (series,) strings or integers
    bounds: Rows  # (series + 1,): series i has the rows bounds[i] to bounds[i + 1]

    def place(self, series: int) -> str:
        """Name a series in a message."""
        return f"{ID} {self.ids[series].as_py()!r:.66}"

    def place_of(self, row: int, column: str) -> str:
        """Name a value in a message, its row counted within its series."""
        series = int(np.searchsorted(self.bounds, row, "right")) - 1
        return f"{self.place(series)}, {column:.64}[{row - int(self.bounds[series])}]"


def can_be_id(kind: pa.DataType) -> bool:
    """Whether a column of this type can say which series a row belongs to."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_integer(kind) or is_text(kind))


def index_series(column: pa.ChunkedArray, most: int) -> SeriesIndex:
    """
    Return the series of a column that ``can_be_id``.

    Raises InvalidRequest if there are none or more than ``most``, if an id is null or too long,
    and if a series comes back after another.
    """
    codes, values = encode(column, ID, "an id")
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    firsts = codes[starts]
    seen, index = np.unique(firsts, return_index=True)
    if not 1 <= len(seen) <= most:
        raise InvalidRequest(ID, f"expected 1 to {most} series, got {len(seen)}")
    ids = values.take(pa.array(firsts))
    ids = ids.cast(pa.string()) if is_text(ids.type) else ids
    series = SeriesIndex(ids, np.append(starts, len(codes)))
    if len(seen) < len(firsts):
        again = np.ones(len(firsts), bool)
        again[index] = False
        place = int(again.argmax())
        raise InvalidRequest(
            series.place(place),
            f"comes back in row {starts[place]}; the rows of one series must be together",
        )
    return series


def encode(column: pa.ChunkedArray, name: str, what: str) -> tuple[Rows, pa.Array]:
    """
    Return a number for each row, equal where the values are, and the value each number means.

    Raises InvalidRequest that says ``what`` the column ``name`` must hold instead of null.
    """
    if column.null_count:
        raise _null(column.is_null().to_numpy(), name, what)
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    if not chunks:
        return np.empty(0, np.int64), pa.array([], pa.int64())
    parts = [_plain(_values(chunk)) for chunk in chunks]
    encoded = pa.chunked_array(parts).dictionary_encode()
    codes = np.concatenate(
        [_codes(chunk, part) for chunk, part in zip(chunks, encoded.chunks, strict=True)]
    )
    if codes.min() < 0:  # a dictionary can hold a null, too
        raise _null(codes < 0, name, what)
    return codes, encoded.chunk(0).dictionary


def _values(chunk: pa.Array) -> pa.Array:
    return chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk


def _codes(chunk: pa.Array, encoded: pa.DictionaryArray) -> Rows:
    codes: Rows = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes[chunk.indices.to_numpy()] if pa.types.is_dictionary(chunk.type) else codes


def _plain(values: pa.Array) -> pa.Array:
    """Return texts in the type that every kernel takes."""
    if not is_text(values.type):
        return values
    if values.type != pa.string_view():  # the length of a view is looked at before it is read
        check_text(pc.max(pc.binary_length(values)).as_py() or 0)
    return values.cast(pa.large_string())


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's texts, a dictionary of them left aside."""
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _null(missing: NDArray[np.bool_], name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{name:.64}[{int(missing.argmax())}]", f"expected {what}, got null")
