"""
The text of a key: ``sqs_``, an id to find it by, and 256 random bits.

Only the text's SHA-256 is kept.  A slow hash protects secrets that people choose and that can be
guessed from a list; one of 2**256 random secrets cannot be guessed at any speed, and a slow hash
would only let strangers use up processor time.
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
    """Return the hash that is kept of a key's text."""
    return hashlib.sha256(text).digest()
