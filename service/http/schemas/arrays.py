"""Nested lists from JSON into float32 arrays, or the exact place that does not fit."""

from array import array
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engine.jobs import Array
from service.http.errors import InvalidRequest
from service.http.schemas.wire import kind_of

FEW = 64  # numbers, as a step of a session brings them
PIECE = 2**15  # numbers; so many at once hold the interpreter for about a millisecond
_FLOAT32 = np.dtype(np.float32)
_NUMBER_OR_NULL = {int, float, type(None)}


def to_matrix(values: object, place: str) -> Array:
    """
    Return (time, features) from [number, ...] or [[number, ...], ...]; null becomes NaN.

    Long lists are emptied on the way.

    Raises InvalidRequest naming the first place that is empty, ragged or no number.  The checks
    run at C speed over the types; only a bad input is looked at element by element.
    """
    if type(values) is not list:
        raise InvalidRequest(place, f"expected an array, got {kind_of(values)}")
    if not values:
        raise InvalidRequest(place, "expected at least one step, got an empty array")
    first = values[0]
    size = PIECE // (len(first) or 1) or 1 if type(first) is list else PIECE
    if len(values) <= size:
        return _part(values, place, 0, first)
    parts = []
    for begin in range(0, len(values), size):
        some = slice(begin, begin + size)
        parts.append(_part(values[some], place, begin, first))
        # Half a million rows that are let go of at once hold the interpreter for long.
        values[some] = [None] * len(parts[-1])
    return np.concatenate(parts)


def to_array(flat: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers as an array; raise OverflowError for an integer that cannot be one."""
    with np.errstate(over="ignore"):  # becomes infinite, which is refused with its place
        if len(flat) <= PIECE:
            return np.array(flat, dtype)
        pieces = range(0, len(flat), PIECE)
        return np.concatenate([np.array(flat[begin : begin + PIECE], dtype) for begin in pieces])


def _part(values: list[Any], place: str, begin: int, first: object) -> Array:
    """Return the steps from ``begin`` on, which must be like the first one of all."""
    kinds = set(map(type, values))
    if type(first) in _NUMBER_OR_NULL and kinds <= _NUMBER_OR_NULL:
        return _float32(values)[:, np.newaxis]
    if type(first) is not list or kinds != {list}:
        raise _bad_step(values, place, begin, first)
    widths = set(map(len, values))
    if widths != {len(first)} or not set(map(type, chain.from_iterable(values))) <= _NUMBER_OR_NULL:
        raise _bad_element(values, place, begin, len(first))
    if not first:
        raise InvalidRequest(f"{place}[0]", "expected at least one feature, got an empty array")
    return _float32(list(chain.from_iterable(values))).reshape(len(values), -1)


def _float32(flat: list[Any]) -> Array:
    if len(flat) <= FEW:
        try:  # a tenth of what numpy takes; too large a number becomes infinite here, too
            return np.frombuffer(array("f", flat), np.float32)
        except (TypeError, OverflowError):  # null, or an integer beyond any float
            pass
    return to_array(flat, _FLOAT32)


def _bad_step(values: list[Any], place: str, begin: int, first: object) -> InvalidRequest:
    nested = type(first) is list
    for step, value in enumerate(values, begin):
        if nested != (type(value) is list) or not (nested or type(value) in _NUMBER_OR_NULL):
            wanted = "an array as in the first step" if nested else "a number or null"
            return InvalidRequest(f"{place}[{step}]", f"expected {wanted}, got {kind_of(value)}")
    return InvalidRequest(place, "expected numbers or arrays of numbers")


def _bad_element(values: list[Any], place: str, begin: int, width: int) -> InvalidRequest:
    for step, row in enumerate(values, begin):
        if len(row) != width:
            return InvalidRequest(
                f"{place}[{step}]",
                f"expected {width} features as in the first step, got {len(row)}",
            )
        for feature, value in enumerate(row):
            if type(value) not in _NUMBER_OR_NULL:
                return InvalidRequest(
                    f"{place}[{step}][{feature}]",
                    f"expected a number or null, got {kind_of(value)}",
                )
    return InvalidRequest(place, "expected arrays of numbers")
