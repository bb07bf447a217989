"""
Encode a stream as bytes for a store, and decode it.

A head; a JSON document if there is a start or static covariates; then the numbers, little endian:
the scores as float64 and the rest as float32, in the order of ``Stream``.  Their counts follow from
the head and the model's card.
"""

import struct
from datetime import datetime
from typing import Any

import numpy as np
import orjson

from models.contract import ModelCard
from service.engine.jobs import Array
from service.sessions.errors import StateUnreadable
from service.sessions.score import Sums
from service.sessions.stream import Stream

VERSION = 1
# Version, whether there is a state and something expected, rows of the window and of the past,
# bytes of the document, inputs read.
_HEAD = struct.Struct("<BBBIIIQ")
_SINGLE, _DOUBLE = np.dtype("<f4"), np.dtype("<f8")


def encode(stream: Stream) -> bytes:
    """Return the stream as bytes; equal streams give equal bytes."""
    document = b""
    if stream.start is not None or stream.static is not None:
        start = None if stream.start is None else stream.start.isoformat()
        document = orjson.dumps({"start": start, "static": stream.static})
    state, expected = stream.state, stream.expected
    parts = [
        _HEAD.pack(
            VERSION,
            state is not None,
            expected is not None,
            len(stream.window),
            len(stream.past),
            len(document),
            stream.count,
        ),
        document,
        stream.score.astype(_DOUBLE, copy=False).tobytes(),
        stream.window.astype(_SINGLE, copy=False).tobytes(),
        stream.past.astype(_SINGLE, copy=False).tobytes(),
    ]
    if state is not None:
        parts.append(state.astype(_SINGLE, copy=False).tobytes())
    if expected is not None:
        parts.append(expected.astype(_SINGLE, copy=False).tobytes())
    return b"".join(parts)


def decode(data: bytes, card: ModelCard) -> Stream:
    """Return the stream that ``encode`` wrote; raise StateUnreadable."""
    try:
        version, has_state, has_expected, window, past, length, count = _HEAD.unpack_from(data)
        if version != VERSION:
            raise StateUnreadable(f"A stream of version {version} cannot be read, {VERSION} can.")
        document = orjson.loads(data[_HEAD.size : _HEAD.size + length]) if length else _NO_DOCUMENT
        start = document["start"]
        targets, features, size = len(card.targets), len(card.features), card.state.size
        begin = _HEAD.size + length
        score: Sums = np.frombuffer(data, _DOUBLE, 4 * targets, begin).reshape(4, targets)
        numbers = _Numbers(np.frombuffer(data, _SINGLE, offset=begin + score.nbytes))
        stream = Stream(
            numbers.take(window, features),
            numbers.take(past, targets),
            score,
            count,
            None if start is None else datetime.fromisoformat(start),
            document["static"],
            numbers.take(1, size)[0] if has_state else None,
            numbers.take(4, targets) if has_expected else None,
        )
    except (struct.error, ValueError, KeyError, TypeError) as exc:
        if isinstance(exc, StateUnreadable):
            raise
        raise StateUnreadable(f"The bytes of a stream are broken: {exc}") from exc
    if numbers.left:
        raise StateUnreadable(f"There are {numbers.left} numbers behind the end of a stream.")
    return stream


class _Numbers:
    """An array that is read part by part."""

    def __init__(self, numbers: Array) -> None:
        self._numbers = numbers
        self._place = 0

    @property
    def left(self) -> int:
        """How many numbers were not read."""
        return len(self._numbers) - self._place

    def take(self, rows: int, columns: int) -> Array:
        """Return the next ones as (rows, columns); raise ValueError if there are too few."""
        begin, self._place = self._place, self._place + rows * columns
        return self._numbers[begin : self._place].reshape(rows, columns)


_NO_DOCUMENT: dict[str, Any] = {"start": None, "static": None}
