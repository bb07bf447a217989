"""
A large JSON text into values, piece by piece, so that other threads go on meanwhile.

orjson holds the interpreter from the first byte to the last, which for 16 MB are some hundred
milliseconds.  Here it is given a text that is cut at commas; numpy, which lets go of the
interpreter, finds those.  Each piece must be whole in itself, so that no cut makes good what is
wrong.
"""

import re
from collections.abc import Callable, Iterator
from json import JSONDecoder
from json.scanner import py_make_scanner  # type: ignore[attr-defined]  # typeshed omits it
from typing import NoReturn, cast

import numpy as np
import orjson

from service.http.errors import InvalidRequest
from service.http.schemas.scan import is_outside

PIECE = 2**16  # bytes
MOST_KEYS = 1024  # of an object, several times what any document of ours has

_COMMA = ord(",")
_BLANKS = b" \t\r\n"
_KEY = re.compile(rb'[ \t\r\n]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*+:', re.DOTALL)
_STEPS = np.zeros(256, np.int8)  # in depth
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


class NotJson(ValueError):
    """A text that is not JSON: why, and where."""

    def __init__(self, msg: str, pos: int) -> None:
        super().__init__(msg)
        self.msg, self.pos = msg, pos


def load(text: bytes, deepest: int) -> object:
    """Return what ``orjson.loads`` does; raise NotJson, also if too deep, and InvalidRequest."""
    return _Text(text, deepest).value(0, len(text))


class Decoder(JSONDecoder):
    """The standard library's decoder as it is in Python, which other threads may interrupt."""

    def __init__(self, pairs: Callable[[list[tuple[str, object]]], object]) -> None:
        super().__init__(object_pairs_hook=pairs)
        self.scan_once = py_make_scanner(self)


class _Text:
    """A text, and where it can be cut: its brackets and commas, and how deep each of them is."""

    def __init__(self, text: bytes, deepest: int) -> None:
        every = np.frombuffer(text, np.uint8)
        steps = _STEPS[every]
        self._text = text
        self._places = np.flatnonzero(((steps != 0) | (every == _COMMA)) & is_outside(every))
        self._steps = steps[self._places]
        self._depths = np.cumsum(self._steps.astype(np.int32))  # after each
        if len(self._depths) and self._depths.max() > deepest:
            _refuse("nested too deep", int(self._places[self._depths.argmax()]))

    def value(self, begin: int, end: int) -> object:
        """Return the value that text[begin:end] is."""
        begin = self._skip(begin, end)
        while end > begin and self._text[end - 1] in _BLANKS:
            end -= 1
        frame = self._text[begin : begin + 1] + self._text[end - 1 : end]
        if end - begin <= PIECE or frame not in (b"[]", b"{}"):
            return self._load(b"", begin, end, b"")
        pieces = self._pieces(begin, end)
        return self._array(pieces) if frame == b"[]" else self._object(pieces)

    def _array(self, pieces: Iterator[tuple[int, int]]) -> list[object]:
        out: list[object] = []
        for begin, end in pieces:
            if end - begin > PIECE:
                out.append(self.value(begin, end))
            else:
                out += cast(list[object], self._load(b"[", begin, end, b"]"))
        return out

    def _object(self, pieces: Iterator[tuple[int, int]]) -> dict[str, object]:
        out: dict[str, object] = {}
        for begin, end in pieces:
            if end - begin > PIECE:
                key = _KEY.match(self._text, begin, end)
                if key is None:
                    _refuse("expected a key", begin)
                (name,) = cast(list[str], self._load(b"[", *key.span(1), b"]"))
                out[name] = self.value(key.end(), end)
            else:
                out |= cast(dict[str, object], self._load(b"{", begin, end, b"}"))
            if len(out) > MOST_KEYS:  # to make all of them holds up everybody, and so does to end
                where = f"the object before character {end}"
                raise InvalidRequest(where, f"expected at most {MOST_KEYS} keys")
        return out

    def _pieces(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """
        Yield where the elements between two brackets begin and end, several small ones at once.

        What is longer than a piece is one element.
        """
        first, last = np.searchsorted(self._places, [begin, end - 1]).tolist()
        if last >= len(self._places) or [begin, end - 1] != self._places[[first, last]].tolist():
            _refuse("unexpected end of a string", begin)
        inside = slice(first + 1, last)
        own = (self._depths[inside] == self._depths[first]) & (self._steps[inside] == 0)
        commas = self._places[inside][own]
        begin += 1
        while end - 1 - begin > PIECE:
            index = int(np.searchsorted(commas, begin + PIECE, "right")) - 1
            if index < 0 or commas[index] < begin:
                index += 1
            if index == len(commas):
                break
            yield self._whole(begin, int(commas[index]))
            begin = int(commas[index]) + 1
        if len(commas) or self._skip(begin, end - 1) < end - 1:
            yield self._whole(begin, end - 1)

    def _whole(self, begin: int, end: int) -> tuple[int, int]:
        if self._skip(begin, end) == end:
            _refuse("expected a value", begin)
        return begin, end

    def _skip(self, begin: int, end: int) -> int:
        """Return where the blanks end, which there may be millions of."""
        for place in range(begin, end, PIECE):
            part = self._text[place : min(place + PIECE, end)]
            if rest := part.lstrip(_BLANKS):
                return place + len(part) - len(rest)
        return end

    def _load(self, opens: bytes, begin: int, end: int, closes: bytes) -> object:
        try:
            return orjson.loads(b"".join((opens, self._text[begin:end], closes)))
        except orjson.JSONDecodeError as exc:
            _refuse(exc.msg, begin + exc.pos - len(opens))


def _refuse(why: str, place: int) -> NoReturn:
    raise NotJson(why, place) from None
