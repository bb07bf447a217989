"""
JSON as it came: fast where nothing in it can be doubted, and strict everywhere.

orjson takes more than the service does: an object with one key twice, a number of any length, a
thousand arrays in each other.  Finding that takes longer than reading, so that each is first
ruled out by counting bytes; only where that does not do is the text looked at closely.
"""

import json

import orjson

from service.http.errors import MalformedRequest, TooManyElements
from service.http.schemas.large import Decoder, NotJson, load
from service.http.schemas.scan import (
    LONGEST_NUMBER,
    count,
    depth,
    has_long_run,
    may_have_long_number,
    outside_strings,
)

DEEPEST = 32  # arrays and objects in each other
LONG = 2**20  # bytes, which orjson takes some milliseconds for


def parse(text: bytes, what: str = "The body") -> object:
    """
    Return the document; raise MalformedRequest with what is wrong, beginning with ``what``.

    Raises InvalidRequest for an object of too many keys in a large text.
    """
    try:
        document = orjson.loads(text) if len(text) <= LONG else load(text, DEEPEST)
    except (orjson.JSONDecodeError, NotJson) as exc:
        _check_tokens(outside_strings(text), what)
        raise MalformedRequest(f"{what} is not JSON: {exc.msg} at character {exc.pos}.") from None
    keys = _keys(document)
    if (
        count(text, b":") > keys
        or count(text, b"[") + count(text, b"{") > DEEPEST
        or may_have_long_number(text)
    ):
        outside = outside_strings(text)
        _check_tokens(outside, what)
        if count(outside, b":") > keys:
            _check_keys(text, what)
    return document


def check_elements(text: bytes, most: int) -> None:
    """Raise TooManyElements before any is made; those in strings count too."""
    found = sum(count(text, byte) for byte in (b",", b"[", b"{"))
    if found > most:
        raise TooManyElements(most, found)


def check_depth(text: bytes, most: int) -> None:
    """Raise MalformedRequest for arrays and objects in each other more than ``most`` deep."""
    if count(text, b"[") + count(text, b"{") > most and depth(outside_strings(text)) > most:
        raise MalformedRequest(f"The body is nested more than {most} deep.")


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


def _check_tokens(outside: bytes, what: str) -> None:
    """Raise MalformedRequest for what is too deep or too long."""
    if depth(outside) > DEEPEST:
        raise MalformedRequest(f"{what} is nested more than {DEEPEST} deep.")
    if has_long_run(outside):
        raise MalformedRequest(f"{what} has a number of more than {LONGEST_NUMBER} characters.")


def _check_keys(text: bytes, what: str) -> None:
    """Raise MalformedRequest if an object of this JSON has a key twice."""

    def once(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise MalformedRequest(f"{what} has an object with the key {key[:64]!r} twice.")
            seen.add(key)

    if len(text) <= LONG:
        json.loads(text, object_pairs_hook=once)
    else:
        Decoder(once).decode(text.decode())
