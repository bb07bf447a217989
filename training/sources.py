"""Read a table into polars with a row number per line; knows nothing of series or time."""

import csv
import difflib
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from training.errors import DataError

ROW = "__row__"  # as a person counts in the file
SHIPPED = "statsmodels:"
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"  # how such files begin


@dataclass(frozen=True, slots=True)
class Frame:
    """A table as it was found: text columns from CSV, typed ones from Parquet."""

    source: str
    sha256: str
    rows: pl.DataFrame  # with the column ROW

    def require(self, columns: Iterable[str]) -> None:
        """Raise DataError for a column that is not there."""
        have = [name for name in self.rows.columns if name != ROW]
        lower = {name.lower(): name for name in have}
        for column in columns:
            if column not in have:
                close = difflib.get_close_matches(column.lower(), lower, 1)
                hint = f"Did you mean {lower[close[0]]!r}? " if close else ""
                raise DataError(
                    self.source,
                    "there is no such column",
                    column=column,
                    advice=f"{hint}The columns are: {', '.join(have)}.",
                )


def read(source: str) -> Frame:
    """Read ``.csv``, ``.csv.gz``, ``.parquet`` or a data set that statsmodels ships."""
    if source.startswith(SHIPPED):
        return _shipped(source)
    path = Path(source)
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise DataError(
            source, f"cannot be read: {exc.strerror}", advice="Check the path."
        ) from exc
    parquet = path.suffix == ".parquet" or content.startswith(_PARQUET)
    try:
        rows = pl.read_parquet(io.BytesIO(content)) if parquet else _csv(source, _text(content))
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error) as exc:
        raise DataError(  # OSError and what follows: a .gz that is none, or not whole
            source,
            f"is not a table: {str(exc).splitlines()[0]}",
            advice="Write it as CSV with a header line, or as Parquet.",
        ) from exc
    first = 1 if parquet else 2  # a CSV's header is its row 1
    numbered = rows.with_row_index(ROW, offset=first)
    return Frame(source, hashlib.sha256(content).hexdigest(), numbered)


def _text(content: bytes) -> bytes:
    return gzip.decompress(content) if content.startswith(_GZIP) else content


def _csv(source: str, content: bytes) -> pl.DataFrame:
    """Read text columns; a header without commas may be separated by semicolons or tabs."""
    _refuse_other_encodings(source, content)
    header = pl.read_csv(io.BytesIO(content), infer_schema=False, n_rows=0).columns
    separator = ","
    if len(header) == 1:
        separator = next((mark for mark in ";\t" if mark in header[0]), ",")
    try:
        rows = pl.read_csv(io.BytesIO(content), infer_schema=False, separator=separator)
    except pl.exceptions.ComputeError:
        _refuse_long_row(source, content, separator)
        raise
    _refuse_twice(source, rows.columns)
    stripped = [name.strip() for name in rows.columns]
    if len(set(stripped)) == len(stripped):
        rows.columns = stripped
    return rows


def _refuse_other_encodings(source: str, content: bytes) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise DataError(
            source,
            "is not a table: its text is not UTF-8",
            row=content[: exc.start].count(b"\n") + 1,
            advice="Save it as CSV in UTF-8, or as Parquet.",
        ) from exc


def _refuse_twice(source: str, columns: list[str]) -> None:
    """Raise DataError for a name that two columns have, the second of which polars renames."""
    for name in columns:
        if f"{name}_duplicated_0" in columns:
            raise DataError(
                source,
                "two columns have this name",
                row=1,
                column=name,
                advice="Rename one of them, or leave it out.",
            )


def _refuse_long_row(source: str, content: bytes, separator: str) -> None:
    """Raise DataError for the first row with more cells than the header has."""
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=separator)
    width = len(next(rows))
    for number, cells in enumerate(rows, start=2):
        if len(cells) > width:
            raise DataError(
                source,
                f"the row has {len(cells)} cells, the header {width}",
                row=number,
                advice="Quote a cell that holds the separator, write numbers with a decimal "
                "point, or drop what is too much.",
            )


def _shipped(source: str) -> Frame:
    from statsmodels.datasets import co2, elnino  # noqa: PLC0415  seconds to import

    name = source.removeprefix(SHIPPED)
    if name == "co2":
        table = co2.load_pandas().data
        rows = pl.DataFrame(
            {"ds": [time.isoformat() for time in table.index], "co2": table["co2"].to_numpy()}
        ).with_columns(pl.col("co2").fill_nan(None))
    elif name == "elnino":
        table = elnino.load_pandas().data
        rows = pl.DataFrame(
            [
                {"ds": f"{int(year[0]):04}-{month:02}-01", "temperature": float(year[month])}
                for year in table.to_numpy()
                for month in range(1, 13)
            ]
        )
    else:
        raise DataError(
            source,
            "statsmodels ships no such data set here",
            advice="Use statsmodels:co2 or statsmodels:elnino.",
        )
    digest = hashlib.sha256(rows.write_csv().encode()).hexdigest()
    return Frame(source, digest, rows.with_row_index(ROW, offset=1))
