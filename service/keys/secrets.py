"""
The text of a key: ``sqs_``, an id to find it by, and 256 random bits that nobody keeps.

What is kept is one SHA-256.  A slow hash is for secrets that people choose and that can be guessed
from a list; of 2**256 random ones none is guessed at any speed, and a slow hash would only let
strangers spend our time.
"""

import hashlib
import re
import secrets
from typing import NamedTuple

_KEY = re.compile(rb"sqs_(?P<id>[0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)


class Issued(NamedTuple):
    """A key that was just made; ``text`` is shown once and kept nowhere."""

    id: str
    text: str


def issue() -> Issued:
    """Return a new key."""
    name = secrets.token_hex(6)
    return Issued(name, f"sqs_{name}_{secrets.token_urlsafe(32)}")


def id_of(text: bytes) -> str | None:
    """Return the id in a key's text, None if the text is no key's."""
    found = _KEY.fullmatch(text)
    return found["id"].decode() if found else None


def digest(text: bytes) -> bytes:
    """Return what is kept of a key's text."""
    return hashlib.sha256(text).digest()
