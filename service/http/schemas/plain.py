"""
The plain request straight from bytes into float32, and nothing but the plain one.

simdjson finds the numbers and copies them out without making a Python object of each.  What it
does not say is checked here: the rectangle, the depth, the keys.  Whatever is not plain, be it
wrong or only unusual, is None, and read by the careful way, which names the place.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import cast

import numpy as np
import simdjson

from service.engine.jobs import Array
from service.http.schemas.scan import count, has_long_number

_TOP = {"sequences", "quantiles", "explain"}
_ITEM = {"values", "id", "start", "future"}
_NUMBER = b"0123456789+-.eE \t\r\n"  # what numbers are made of, and blanks
ROWS = 4096
KEPT = 2**18  # bytes; a parser keeps buffers for the largest body that it has seen
MOST = 2**22  # bytes; of more simdjson, too, would hold the interpreter for long
_parser = simdjson.Parser()  # one event loop, one parser


@dataclass(slots=True)
class Series:
    """One sequence as it was asked: (time, features), and what came with it."""

    values: Array
    id: str | None = None
    start: str | None = None
    future: Array | None = None  # (horizon, known)
    static: object = None  # not plain: whatever JSON may hold


@dataclass(slots=True)
class SeriesRequest:
    """A request for forecasts, its numbers read, nothing held against a card yet."""

    series: list[Series]
    quantiles: list[float] | None = None
    attention: bool = False


class _NotPlain(Exception):
    """Leave it to the careful way."""


def read(body: bytes, max_sequences: int) -> SeriesRequest | None:
    """Return the request, or None unless it is plain from its first byte to its last."""
    if body[:1] != b"{" or len(body) > MOST or has_long_number(body):  # a byte order mark, say
        return None
    try:
        parser = _parser if len(body) <= KEPT else simdjson.Parser()
        document = parser.parse(body)
        if type(document) is not simdjson.Object:
            return None
        if len(document) == 1:
            matrices = _bare(document["sequences"], body, max_sequences)
            if matrices is not None:
                return SeriesRequest([Series(matrix) for matrix in matrices])
        return _Reader(document, max_sequences).checked(count(body, b"["))
    except (_NotPlain, ValueError, TypeError, RuntimeError, KeyError):
        return None


class _Reader:
    def __init__(self, document: simdjson.Object, max_sequences: int) -> None:
        if len(document) > 1:
            _check_keys(document, _TOP)
        sequences = document["sequences"]
        if type(sequences) is not simdjson.Array or not 1 <= len(sequences) <= max_sequences:
            raise _NotPlain
        self._brackets = 1  # how many "[" the parts read so far hold
        self._asked = SeriesRequest([self._series(item) for item in sequences])
        if len(document) > 1:
            if "quantiles" in document:
                self._asked.quantiles = self._levels(document["quantiles"])
            if "explain" in document:
                self._asked.attention = self._explain(document["explain"])

    def checked(self, brackets: int) -> SeriesRequest:
        """Return what was read if no array hides inside a row, which simdjson would flatten."""
        if brackets != self._brackets:
            raise _NotPlain
        return self._asked

    def _series(self, item: object) -> Series:
        if type(item) is simdjson.Array:
            return Series(self._matrix(item))
        if type(item) is not simdjson.Object:
            raise _NotPlain
        _check_keys(item, _ITEM)
        series = Series(self._matrix(item["values"]))
        if "id" in item:
            series.id = _text(item["id"], 256)
        if "start" in item:
            series.start = _text(item["start"], 64)
        if "future" in item:
            series.future = self._matrix(item["future"])
        return series

    def _matrix(self, values: object) -> Array:
        if type(values) is not simdjson.Array or not len(values):
            raise _NotPlain
        numbers = _numbers(values)
        self._brackets += 1
        if type(values[0]) is not simdjson.Array:
            if len(numbers) != len(values):
                raise _NotPlain
            return numbers[:, np.newaxis]
        widths: set[int] = set()
        rows = iter(cast(list[simdjson.Array], values))
        while some := set(map(len, islice(rows, ROWS))):  # what is no array has no length
            widths |= some  # and other threads may go on
        width = widths.pop()
        if widths or not width:
            raise _NotPlain
        self._brackets += len(values)
        return numbers.reshape(len(values), width)

    def _levels(self, levels: object) -> list[float]:
        if type(levels) is not simdjson.Array:
            raise _NotPlain
        self._brackets += 1
        return cast(list[float], np.frombuffer(levels.as_buffer(of_type="d"), np.float64).tolist())

    def _explain(self, parts: object) -> bool:
        if type(parts) is not simdjson.Array or any(part != "attention" for part in parts):
            raise _NotPlain
        self._brackets += 1
        return len(parts) > 0


def _bare(sequences: object, body: bytes, max_sequences: int) -> list[Array] | None:
    """
    Return the matrices of a body that holds nothing else, or None.

    Without the characters of numbers and the blanks, such a body has only one possible form for
    given shapes, so that comparing with it finds rows of other lengths, deeper arrays, strings,
    and null at once.
    """
    if type(sequences) is not simdjson.Array or not 1 <= len(sequences) <= max_sequences:
        return None
    matrices, forms = [], []
    for item in sequences:
        if type(item) is not simdjson.Array or not len(item):
            return None
        numbers, steps, first = _numbers(item), len(item), item[0]
        nested = type(first) is simdjson.Array
        width = len(first) if nested else 1
        if not width or len(numbers) != steps * width:
            return None
        matrices.append(numbers.reshape(steps, width))
        forms.append(_form(steps, width if nested else None))
    bare = b'{"squncs":[' + b",".join(forms) + b"]}"
    return matrices if body.translate(None, _NUMBER) == bare else None


@lru_cache(256)
def _form(steps: int, width: int | None) -> bytes:
    """Return what is left of a matrix in JSON; None: of a list of numbers."""
    row = b"" if width is None else b"[" + b"," * (width - 1) + b"]"
    return b"[" + b",".join([row] * steps) + b"]"


def _numbers(values: simdjson.Array) -> Array:
    flat = np.frombuffer(values.as_buffer(of_type="d"), np.float64)
    with np.errstate(over="ignore"):  # becomes infinite, which the engine refuses
        return flat.astype(np.float32)


def _check_keys(document: simdjson.Object, allowed: set[str]) -> None:
    keys = list(document.keys())
    if not allowed.issuperset(keys) or len(set(keys)) != len(keys):
        raise _NotPlain


def _text(value: object, longest: int) -> str:
    if type(value) is not str or len(value) > longest:
        raise _NotPlain
    return value
