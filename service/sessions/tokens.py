"""Export a session's state as a signed token, which services with the same key accept."""

import base64
import hashlib
import hmac
import re
import struct
from dataclasses import dataclass

import orjson

from service.sessions.errors import NotASession
from service.sessions.records import Record

_MAC = hashlib.sha256().digest_size
_HEAD = struct.Struct("<BI")
_VERSION = 1
_TOKEN = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Exported:
    """The contents of a token: a stream's state and step, and the model file it is of."""

    model: str
    version: int
    model_hash: str
    step: int
    state: bytes


def seal(record: Record, key: bytes) -> str:
    """Return the state of a record, signed by HMAC-SHA256 (RFC 2104), as URL-safe text."""
    head = orjson.dumps([record.model, record.version, record.model_hash, record.step])
    body = _HEAD.pack(_VERSION, len(head)) + head + record.state
    return base64.urlsafe_b64encode(_mac(body, key) + body).rstrip(b"=").decode()


def unseal(token: str, key: bytes) -> Exported:
    """Return what a token holds; raise NotASession for one that was not sealed with the key."""
    # The decoder passes over what it does not know.
    if not _TOKEN.fullmatch(token) or len(token) % 4 == 1:
        raise NotASession("The state is not a token of this service.")
    sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    body = sealed[_MAC:]
    if len(body) < _HEAD.size or not hmac.compare_digest(sealed[:_MAC], _mac(body, key)):
        raise NotASession("The state was not exported by this service, or was changed since.")
    version, length = _HEAD.unpack_from(body)
    if version != _VERSION:
        raise NotASession(f"A state of version {version} cannot be read, {_VERSION} can.")
    end = _HEAD.size + length
    model, number, model_hash, step = orjson.loads(body[_HEAD.size : end])
    return Exported(model, number, model_hash, step, body[end:])


def _mac(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")
