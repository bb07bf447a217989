"""
The short way of a prediction: from the connection to the engine and back, past the framework.

It takes only what is plain: a POST of a known length to a model that serves, with nothing
unusual in its headers.  All else goes the long way, through FastAPI, to routes that answer the
same: both ways read, ask, refuse, write and record with the same code.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from models.serving import ALIAS_PATTERN
from service.engine.catalogue import Which
from service.engine.core import Engine
from service.http.access.gate import Gate
from service.http.deflate import coding_of
from service.http.errors import RequestError
from service.http.journal.records import Records
from service.http.prediction import ROUTING_KEY, WireFormat
from service.http.request.limits import TIMEOUT, Limits
from service.http.transport.answers import Headers, lines
from service.keys.errors import AccessError
from service.keys.ring import Grant
from service.memory import Tidy

_NAME = r"(?P<name>[a-z0-9][a-z0-9._-]{0,63})"
_VERSION = rf"(?:/versions/(?:(?P<version>[1-9][0-9]{{0,8}})|(?P<alias>{ALIAS_PATTERN[1:-1]})))?"
_MOST_PATHS = 1_000  # kept; they are those of versions that have answered
# Of what these say, a plain request heeds all that there is to heed.
_UNUSUAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade"})


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A prediction route: its path, as FastAPI has it, and its wire format."""

    path: str
    wire: WireFormat

    def matcher(self) -> re.Pattern[bytes]:
        """Return what recognises the route's URLs, with and without a version."""
        before, after = self.path.split("/{name}")
        return re.compile(f"{before}/{_NAME}{_VERSION}{after}".encode(), re.ASCII)


class Head(NamedTuple):
    """What the first line and the headers of a plain request say."""

    url: bytes
    headers: Headers
    name: str
    version: Which
    wire: WireFormat
    path: str
    route: str
    length: int
    milliseconds: int
    request_id: str | None
    routing: str | None  # by which its version is chosen where the traffic is divided
    header: str | None  # the one the format reads
    grant: Grant | None  # what its key allows, where keys are asked for

    def says(self, url: bytes, headers: Headers) -> bool:
        """Whether another request's first line and headers are the same, as they mostly are."""
        return self.url == url and self.headers == headers


class Express:
    """Recognise what may go the short way, and let it."""

    def __init__(  # noqa: PLR0913, PLR0917  what the long way has from create_app
        self,
        engine: Engine,
        limits: Limits,
        records: Records,
        tidy: Tidy,
        routes: Sequence[HotRoute],
        gate: Gate | None = None,
    ) -> None:
        self.engine = engine
        self.limits = limits
        self._most_bytes = limits.plain_bytes
        self.records = records
        self.tidy = tidy
        self._gate = gate
        self.loop = asyncio.get_running_loop()
        self._routes = [(hot.matcher(), hot) for hot in routes]
        self._paths: dict[bytes, tuple[HotRoute, str, Which]] = {}
        self._every: tuple[Headers, bytes] = (), b""

    def head(self, url: bytes, headers: Headers) -> Head | None:
        """Return what a request says if it is plain; ``headers`` have names in lower case."""
        found = self._paths.get(url) or self._recognise(url)
        if found is None:
            return None
        hot, name, version = found
        given = dict(headers)
        coding = coding_of(_text(given.get(b"accept-encoding")))
        if len(given) != len(headers) or coding or not _UNUSUAL.isdisjoint(given):
            return None
        length = given.get(b"content-length", b"")
        if not (length.isdigit() and len(length) <= 9):  # noqa: PLR2004
            return None
        media_type = _text(given.get(b"content-type")) or ""
        asked = _text(given.get(TIMEOUT.encode()))
        if media_type not in hot.wire.accepted or int(length) > self._most_bytes:
            return None
        path, grant = url.decode(), None
        try:
            milliseconds = self.limits.deadline_ms(asked)
            if self._gate is not None:
                grant = self._gate.find("POST", path, headers)
        except (RequestError, AccessError):
            return None
        request_id = _text(given.get(b"x-request-id"))
        return Head(
            url,
            headers,
            name,
            version,
            hot.wire,
            path,
            hot.path if version is None else _versioned(hot.path),
            int(length),
            milliseconds,
            request_id,
            _text(given.get(ROUTING_KEY.encode())) or request_id,
            _text(given.get(hot.wire.header.encode())) if hot.wire.header else None,
            grant,
        )

    def admits(self, grant: Grant) -> bool:
        """Count one more request of a key, if it may."""
        return self._gate is None or self._gate.passes(grant)

    def every(self, headers: Headers) -> bytes:
        """Return the headers of every answer as lines; uvicorn makes new ones each second."""
        if headers is not self._every[0]:
            self._every = headers, lines(headers)
        return self._every[1]

    def _recognise(self, url: bytes) -> tuple[HotRoute, str, Which] | None:
        for pattern, hot in self._routes:
            match = pattern.fullmatch(url)
            if match:
                name, version, alias = match["name"].decode(), match["version"], match["alias"]
                which = int(version) if version else alias.decode() if alias else None
                if self.engine.serving(name, which) is not None:  # others would come without end
                    if len(self._paths) >= _MOST_PATHS:
                        self._paths.clear()
                    self._paths[url] = hot, name, which
                return hot, name, which
        return None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _versioned(path: str) -> str:
    return path.replace("{name}", "{name}/versions/{version}")
