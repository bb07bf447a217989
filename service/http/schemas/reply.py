"""What a query writes: a body and how HTTP must label it; no status, no request."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

JSON = "application/json"
_NONE: Mapping[str, str] = MappingProxyType({})


class Reply(NamedTuple):
    """The body of an answer, its media type, and the headers that go with them."""

    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = _NONE
