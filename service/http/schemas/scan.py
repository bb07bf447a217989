"""Look at the bytes of a JSON text, at the speed of memory; reads no value, and takes any text."""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LONGEST_NUMBER = 64  # characters

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

_QUOTE, _BACKSLASH, _COMMA = b'"\\,'
_FEW = 2048  # bytes, of which a loop over bytes makes less than numpy takes to begin
_PART = 2**20  # bytes, of which a loop over bytes makes a millisecond
# An unfinished string ends with the text, so that no text takes more than one look.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_LONG_RUN = b"0" * (LONGEST_NUMBER + 1)
_NUMBERS = bytes(ord("0") if byte in b"0123456789+-.eE" else ord(" ") for byte in range(256))
_NO_COMMA = bytes(7)  # of 56 bits in their places: at the least, of 65 bits anywhere
_BRACKETS = b"[]{}"
_ALL_ELSE = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_OPENS = 2  # the bit that tells "[" and "{" from "]" and "}"


def count(text: bytes, byte: bytes) -> int:
    """Return how often a byte occurs, as ``bytes.count`` does, which looks at one at a time."""
    if len(text) < _FEW:
        return text.count(byte)
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(byte)))


def has_long_number(text: bytes) -> bool:
    """Say whether a number has too many characters."""
    return may_have_long_number(text) and has_long_run(outside_strings(text))


def may_have_long_number(text: bytes) -> bool:
    """Return False only if none has."""
    if len(text) < _FEW:
        return len(text) > LONGEST_NUMBER and has_long_run(text)
    return _NO_COMMA in np.packbits(np.frombuffer(text, np.uint8) == _COMMA).tobytes()


def has_long_run(outside: bytes) -> bool:
    """Say whether too many characters of numbers follow each other."""
    return any(_LONG_RUN in part.translate(_NUMBERS) for part in _parts(outside, LONGEST_NUMBER))


def outside_strings(text: bytes) -> bytes:
    """Return a text without its strings, quotes aside."""
    if len(text) < _FEW:
        return _STRING.sub(b'""', text)
    every = np.frombuffer(text, np.uint8)
    return every[is_outside(every)].tobytes()


def is_outside(every: Bytes) -> Flags:
    """Say of each byte whether it is outside strings, or the quote that ends one."""
    quotes = every == _QUOTE
    backslashes = np.flatnonzero(every == _BACKSLASH)
    if len(backslashes):
        begins = np.flatnonzero(np.diff(backslashes, prepend=-2) != 1)  # of several in a row
        lengths = np.diff(begins, append=len(backslashes))
        after = backslashes[begins] + lengths
        quotes[after[(lengths % 2 == 1) & (after < len(every))]] = False  # they are escaped
    outside: Flags = ~np.bitwise_xor.accumulate(quotes)
    return outside


def depth(outside: bytes) -> int:
    """Return how deep arrays and objects lie in each other."""
    kept = b"".join(part.translate(None, _ALL_ELSE) for part in _parts(outside, 0))
    brackets = np.frombuffer(kept, np.uint8)
    steps = (brackets & _OPENS).astype(np.int64) - 1
    return int(np.cumsum(steps).max()) if len(steps) else 0


def _parts(text: bytes, overlap: int) -> list[bytes] | Iterator[bytes]:
    """Return a text in parts, between which other threads may go on."""
    if len(text) <= _PART:
        return [text]
    return (text[begin : begin + _PART + overlap] for begin in range(0, len(text), _PART))
