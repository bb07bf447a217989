"""
A stream as bytes, and back: what a store keeps.

The format's version, the length of a JSON document, the document, and the numbers behind it:
float32 and float64, little endian, in the order that the document lists.
"""

import struct
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import orjson

from service.sessions.score import Expected
from service.sessions.stream import Stream

VERSION = 1
_HEAD = struct.Struct("<BI")
_EXPECTED = "mean", "low", "high", "naive"
_STATE = "state."


class NotAStream(ValueError):
    """Bytes that no stream was written to, or by a version that is not known here."""


def encode(stream: Stream) -> bytes:
    """Return the stream as bytes; the same stream gives the same bytes."""
    arrays = dict(_arrays(stream))
    document = {
        "count": stream.count,
        "start": stream.start,
        "static": stream.static,
        "shapes": {name: array.shape for name, array in arrays.items()},
    }
    head = orjson.dumps(document)
    numbers = [_little(name, array).tobytes() for name, array in arrays.items()]
    return b"".join([_HEAD.pack(VERSION, len(head)), head, *numbers])


def decode(data: bytes) -> Stream:
    """Return the stream that was written; raise NotAStream."""
    try:
        version, length = _HEAD.unpack_from(data)
        if version != VERSION:
            raise NotAStream(f"A stream of version {version} cannot be read, {VERSION} can.")
        document = orjson.loads(memoryview(data)[_HEAD.size : _HEAD.size + length])
        arrays = _read(document["shapes"], data, _HEAD.size + length)
        expected = [arrays[name] for name in _EXPECTED] if "mean" in arrays else None
        start = document["start"]
        return Stream(
            arrays["window"],
            arrays["past"],
            arrays["score"],
            document["count"],
            None if start is None else datetime.fromisoformat(start),
            document["static"],
            {
                name.removeprefix(_STATE): array
                for name, array in arrays.items()
                if name.startswith(_STATE)
            },
            None if expected is None else Expected(*expected),
        )
    except (struct.error, ValueError, KeyError, TypeError) as exc:
        if isinstance(exc, NotAStream):
            raise
        raise NotAStream(f"The bytes of a stream are broken: {exc}") from exc


def _arrays(stream: Stream) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    yield "window", stream.window
    yield "past", stream.past
    yield "score", stream.score
    if stream.expected is not None:
        for name in _EXPECTED:
            yield name, getattr(stream.expected, name)
    for name, tensor in stream.tensors.items():
        yield _STATE + name, tensor


def _kind(name: str) -> str:
    return "<f8" if name == "score" else "<f4"


def _little(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array, _kind(name))


def _read(
    shapes: Mapping[str, list[int]], data: bytes, offset: int
) -> dict[str, np.ndarray[Any, Any]]:
    arrays = {}
    for name, shape in shapes.items():
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(data, _kind(name), count, offset).reshape(shape)
        arrays[name] = array
        offset += array.nbytes
    if offset != len(data):
        raise NotAStream("The bytes of a stream are longer than they say.")
    return arrays
