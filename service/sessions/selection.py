"""Statements that end in ``IN``, for any number of ids."""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

CHUNK = 512  # ids in a statement; SQLite may be built for 999 values and no more


class Listed(NamedTuple):
    """The list of question marks after an ``IN``, and the values that it takes."""

    marks: str
    values: list[str | None]


def select(
    connection: sqlite3.Connection, statement: str, ids: Iterable[str], *values: float
) -> Iterator[Any]:
    """Yield the rows of a SELECT, whose other ``values`` stand before the ids."""
    for listed in lists(ids):
        yield from connection.execute(f"{statement} {listed.marks}", [*values, *listed.values])


def lists(ids: Iterable[str]) -> Iterator[Listed]:
    """
    Yield the ids in lists as long as a power of two, filled up with nulls, which match nothing.

    A connection keeps the last 128 statements prepared, and each length is one.  Lists of every
    length would take megabytes in an hour and drive out those of which there is use.
    """
    rest = iter(ids)
    while chunk := list(itertools.islice(rest, CHUNK)):
        length = 1 << (len(chunk) - 1).bit_length()
        yield Listed(f"({', '.join('?' * length)})", [*chunk, *[None] * (length - len(chunk))])
