"""Tensors of the Open Inference Protocol, JSON or binary, into arrays; knows no model."""

from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.http.errors import InvalidRequest
from service.http.schemas.arrays import to_array
from service.http.schemas.oip_parameters import parameters_of
from service.http.schemas.wire import kind_of

Tensor = NDArray[Any]

ENTRY = frozenset({"name", "shape", "datatype", "parameters", "data"})
_PARAMETERS = frozenset({"binary_data_size"})


@dataclass(frozen=True, slots=True)
class TensorType:
    """What an input must be: the protocol's datatype, numpy's, and the ranks allowed."""

    datatype: str
    dtype: np.dtype[Any]
    ranks: tuple[int, ...]
    numbers: frozenset[type]  # of JSON


def float32(*ranks: int) -> TensorType:
    """Return FP32 of these ranks; null in JSON, and NaN in binary, is a missing value."""
    return TensorType("FP32", np.dtype("<f4"), ranks, frozenset({int, float, type(None)}))


def int64(*ranks: int) -> TensorType:
    """Return INT64 of these ranks."""
    return TensorType("INT64", np.dtype("<i8"), ranks, frozenset({int}))


class TensorReader:
    """
    Read the inputs of one request, in order; their binary data lies one behind the other.

    Every method raises InvalidRequest with the place.  A declared shape is compared with what
    came and never allocated.
    """

    __slots__ = ("_body", "_position")

    def __init__(self, body: bytes, position: int) -> None:
        self._body = body
        self._position = position

    def read(self, entry: dict[str, Any], wanted: TensorType, place: str) -> Tensor:
        """Return one input as an array of its shape: a view of the body if it is binary."""
        if entry.get("datatype") != wanted.datatype:
            raise InvalidRequest(f"{place}.datatype", f"expected {wanted.datatype}")
        shape = _shape(entry.get("shape"), wanted.ranks, f"{place}.shape")
        size = parameters_of(entry, place, _PARAMETERS).get("binary_data_size")
        if size is None:
            return _from_json(entry.get("data"), shape, wanted, f"{place}.data")
        if entry.get("data") is not None:
            raise InvalidRequest(f"{place}.data", "not allowed beside binary_data_size")
        return self._take(size, shape, wanted.dtype, f"{place}.parameters.binary_data_size")

    def finish(self) -> None:
        """Refuse binary data that belongs to no input."""
        if self._position != len(self._body):
            raise InvalidRequest(
                "the body",
                f"the inputs take its first {self._position} bytes, but it has {len(self._body)}",
            )

    def _take(self, size: object, shape: list[int], dtype: np.dtype[Any], place: str) -> Tensor:
        count = prod(shape)
        if type(size) is not int or size != count * dtype.itemsize:
            got = size if type(size) is int else kind_of(size)
            raise InvalidRequest(
                place, f"the shape takes {count * dtype.itemsize} bytes, but it says {got}"
            )
        left = len(self._body) - self._position
        if size > left:
            raise InvalidRequest(place, f"expected {size} bytes behind the header, got {left}")
        values = np.frombuffer(self._body, dtype, count, self._position).reshape(shape)
        self._position += size
        # A header of any length may come before: the runtime must not meet an unaligned address.
        return values if values.flags.aligned else values.copy()


def _shape(shape: object, ranks: tuple[int, ...], place: str) -> list[int]:
    if type(shape) is not list or len(shape) not in ranks:
        wanted = " or ".join(map(str, ranks))
        got = f"{len(shape)}" if type(shape) is list else kind_of(shape)
        raise InvalidRequest(place, f"expected {wanted} dimensions, got {got}")
    for axis, size in enumerate(shape):
        if type(size) is not int or size < 1:
            raise InvalidRequest(f"{place}[{axis}]", "expected a whole number of at least 1")
    return shape


def _from_json(data: object, shape: list[int], wanted: TensorType, place: str) -> Tensor:
    if type(data) is not list:
        raise InvalidRequest(place, f"expected an array, got {kind_of(data)}")
    nested = bool(data) and type(data[0]) is list and len(shape) > 1
    flat = _flatten(data, shape, place) if nested else data
    if not set(map(type, flat)) <= wanted.numbers:
        raise _not_a_number(flat, shape if nested else [len(flat)], wanted, place)
    if len(flat) != prod(shape):
        raise InvalidRequest(place, f"the shape takes {prod(shape)} numbers, got {len(flat)}")
    try:
        return to_array(flat, wanted.dtype).reshape(shape)
    except OverflowError:
        raise InvalidRequest(place, f"a number out of the range of {wanted.datatype}") from None


def _flatten(level: list[Any], shape: list[int], place: str) -> list[Any]:
    """Take the nesting off, level by level at C speed; only a bad level is looked at closely."""
    if len(level) != shape[0]:
        raise InvalidRequest(place, f"the shape takes {shape[0]} arrays, got {len(level)}")
    for axis in range(1, len(shape)):
        if set(map(type, level)) != {list} or set(map(len, level)) != {shape[axis]}:
            raise _bad_level(level, shape, axis, place)
        level = list(chain.from_iterable(level))
    return level


def _bad_level(level: list[Any], shape: list[int], axis: int, place: str) -> InvalidRequest:
    size = shape[axis]
    index, part = next(
        (index, part)
        for index, part in enumerate(level)
        if type(part) is not list or len(part) != size
    )
    got = f"{len(part)}" if type(part) is list else kind_of(part)
    where = subscript(index, shape[:axis])
    return InvalidRequest(f"{place}{where}", f"expected an array of {size}, got {got}")


def _not_a_number(
    flat: list[Any], shape: list[int], wanted: TensorType, place: str
) -> InvalidRequest:
    index = next(index for index, value in enumerate(flat) if type(value) not in wanted.numbers)
    noun = "a whole number" if wanted.numbers == {int} else "a number or null"
    got = (
        "a fraction, or one beyond 64 bits" if type(flat[index]) is float else kind_of(flat[index])
    )
    return InvalidRequest(f"{place}{subscript(index, shape)}", f"expected {noun}, got {got}")


def subscript(index: int, shape: list[int] | tuple[int, ...]) -> str:
    """Write a position in a tensor that is counted flat, such as ``[3][17]``."""
    return "".join(f"[{place}]" for place in np.unravel_index(index, shape))
