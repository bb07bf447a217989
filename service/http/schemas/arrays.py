"""Nested lists from JSON into float32 arrays, or the exact place that does not fit."""

from array import array
from collections.abc import Iterable
from itertools import chain
from typing import cast

import numpy as np

from service.engine.jobs import Array
from service.http.errors import InvalidRequest

FEW = 64  # numbers, as a step of a session brings them
_NUMBER_OR_NULL = {int, float, type(None)}


def to_matrix(values: object, place: str) -> Array:
    """
    Return (time, features) from [number, ...] or [[number, ...], ...]; null becomes NaN.

    Raises InvalidRequest naming the first place that is empty, ragged or no number.  The checks
    run at C speed over the types; only a bad input is looked at element by element.
    """
    if type(values) is not list:
        raise InvalidRequest(place, f"expected an array, got {_kind(values)}")
    if not values:
        raise InvalidRequest(place, "expected at least one step, got an empty array")
    kinds = set(map(type, values))
    if kinds <= _NUMBER_OR_NULL:
        return _float32(values)[:, np.newaxis]
    if kinds != {list}:
        raise _bad_step(values, place)
    widths = set(map(len, values))
    if len(widths) != 1 or not set(map(type, chain.from_iterable(values))) <= _NUMBER_OR_NULL:
        raise _bad_element(values, place)
    if not values[0]:
        raise InvalidRequest(f"{place}[0]", "expected at least one feature, got an empty array")
    return _float32(list(chain.from_iterable(values))).reshape(len(values), -1)


def _float32(flat: list[object]) -> Array:
    if len(flat) <= FEW:
        try:  # a tenth of what numpy takes; too large a number becomes infinite here, too
            return np.frombuffer(array("f", cast(list[float], flat)), np.float32)
        except (TypeError, OverflowError):  # null, or an integer beyond any float
            pass
    with np.errstate(over="ignore"):  # becomes infinite, which the engine refuses with its place
        return np.array(flat, dtype=np.float32)


def _bad_step(values: list[object], place: str) -> InvalidRequest:
    nested = type(values[0]) is list
    for step, value in enumerate(values):
        if nested != (type(value) is list) or not (nested or type(value) in _NUMBER_OR_NULL):
            wanted = "an array as in the first step" if nested else "a number or null"
            return InvalidRequest(f"{place}[{step}]", f"expected {wanted}, got {_kind(value)}")
    return InvalidRequest(place, "expected numbers or arrays of numbers")


def _bad_element(values: Iterable[list[object]], place: str) -> InvalidRequest:
    width = -1
    for step, row in enumerate(values):
        width = len(row) if step == 0 else width
        if len(row) != width:
            return InvalidRequest(
                f"{place}[{step}]",
                f"expected {width} features as in the first step, got {len(row)}",
            )
        for feature, value in enumerate(row):
            if type(value) not in _NUMBER_OR_NULL:
                return InvalidRequest(
                    f"{place}[{step}][{feature}]", f"expected a number or null, got {_kind(value)}"
                )
    return InvalidRequest(place, "expected arrays of numbers")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")
