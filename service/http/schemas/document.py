"""
JSON as it came: fast where nothing in it can be doubted, and strict everywhere.

orjson takes more than the service does: an object with one key twice, a number of any length, a
thousand arrays in each other.  Finding that takes longer than reading, so that each is first
ruled out by counting bytes; only where that does not do is the text looked at closely.
"""

import json
import re

import numpy as np
import orjson

from service.http.errors import MalformedRequest

DEEPEST = 32  # arrays and objects in each other
LONGEST_NUMBER = 64  # characters

_QUOTE, _COMMA, _BACKSLASH = ord('"'), ord(","), b"\\"
_FEW = 2048  # bytes, of which bytes.count makes less than numpy takes to begin
# An unfinished string ends with the text, so that no text takes more than one look.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_LONG_RUN = b"0" * (LONGEST_NUMBER + 1)
_NUMBERS = bytes(ord("0") if byte in b"0123456789+-.eE" else ord(" ") for byte in range(256))
_NO_COMMA = bytes(7)  # of 56 bits in their places: at the least, of 65 bits anywhere
_BRACKETS = b"[]{}"
_ALL_ELSE = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_OPENS = 2  # the bit that tells "[" and "{" from "]" and "}"


def parse(text: bytes, what: str = "The body") -> object:
    """Return the document; raise MalformedRequest with what is wrong, beginning with ``what``."""
    try:
        document: object = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        _check_tokens(_outside_strings(text), what)
        raise MalformedRequest(f"{what} is not JSON: {exc.msg} at character {exc.pos}.") from None
    keys = _keys(document)
    if (
        count(text, b":") > keys
        or count(text, b"[") + count(text, b"{") > DEEPEST
        or _may_have_long_number(text)
    ):
        outside = _outside_strings(text)
        _check_tokens(outside, what)
        if count(outside, b":") > keys:
            _check_keys(text, what)
    return document


def has_long_number(text: bytes) -> bool:
    """Say whether a number of a JSON text has too many characters."""
    return _may_have_long_number(text) and _has_long_run(_outside_strings(text))


def count(text: bytes, byte: bytes) -> int:
    """Return how often a byte occurs, as ``bytes.count`` does, which looks at one at a time."""
    if len(text) < _FEW:
        return text.count(byte)
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(byte)))


def _keys(value: object) -> int:
    """
    Return how many keys the objects of a document have.

    That is as many as there are colons outside its strings, unless a key is there twice.  What
    lies in arrays of arrays is not looked for: then, too, there are more colons than keys.
    """
    if type(value) is dict:
        nested = [item for item in value.values() if type(item) is dict or type(item) is list]
        return len(value) + sum(map(_keys, nested)) if nested else len(value)
    if type(value) is list and value and type(value[0]) is dict:
        return sum(map(_keys, value))
    return 0


def _may_have_long_number(text: bytes) -> bool:
    if len(text) < _FEW:
        return len(text) > LONGEST_NUMBER and _has_long_run(text)
    return _NO_COMMA in np.packbits(np.frombuffer(text, np.uint8) == _COMMA).tobytes()


def _has_long_run(text: bytes) -> bool:
    return _LONG_RUN in text.translate(_NUMBERS)


def _outside_strings(text: bytes) -> bytes:
    """Return a text without its strings, quotes aside; it need not be JSON."""
    if len(text) < _FEW or _BACKSLASH in text:
        return _STRING.sub(b'""', text)
    every = np.frombuffer(text, np.uint8)
    inside = np.bitwise_xor.accumulate(every == _QUOTE)
    return every[~inside].tobytes()


def _check_tokens(outside: bytes, what: str) -> None:
    """Raise MalformedRequest for what is too deep or too long."""
    brackets = np.frombuffer(outside.translate(None, _ALL_ELSE), np.uint8)
    if len(brackets) and np.cumsum((brackets & _OPENS).astype(np.int64) - 1).max() > DEEPEST:
        raise MalformedRequest(f"{what} is nested more than {DEEPEST} deep.")
    if _has_long_run(outside):
        raise MalformedRequest(f"{what} has a number of more than {LONGEST_NUMBER} characters.")


def _check_keys(text: bytes, what: str) -> None:
    """Raise MalformedRequest if an object of this JSON has a key twice."""

    def once(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise MalformedRequest(f"{what} has an object with the key {key[:64]!r} twice.")
            seen.add(key)

    json.loads(text, object_pairs_hook=once)
