"""Statements that end in ``IN``, for any number of ids."""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

CHUNK = 500  # ids in a statement; SQLite may be built for 999 values and no more


def select(
    connection: sqlite3.Connection, statement: str, ids: Iterable[str], *values: float
) -> Iterator[Any]:
    """Yield the rows of a SELECT, whose other ``values`` stand before the ids."""
    for chunk in chunks(ids):
        yield from connection.execute(f"{statement} {marks(chunk)}", [*values, *chunk])


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while chunk := list(itertools.islice(rest, CHUNK)):
        yield chunk


def marks(values: Sequence[object]) -> str:
    """Return the list of question marks that takes these values."""
    return f"({', '.join('?' * len(values))})"
