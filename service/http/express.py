"""
The short way of a prediction: from the connection to the engine and back, past the framework.

It takes only what is plain: a POST of a known length to a model that serves, with nothing
unusual in its headers.  All else goes the long way, through FastAPI, to routes that answer the
same: both ways read, ask, refuse, write and record with the same code.
"""

import asyncio
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from fastapi import Response
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from service.engine.core import Engine, LoadedModel, insist_on_finite
from service.engine.errors import EngineError
from service.engine.jobs import Ticket, Timing
from service.http.access import Records, Visit, identify
from service.http.errors import DeadlineExceeded, RequestError, answer
from service.http.limits import TIMEOUT, Limits
from service.http.prediction import Query, WireFormat
from service.memory import Tidy

log = logging.getLogger(__name__)

Headers = Sequence[tuple[bytes, bytes]]

_NAME = r"(?P<name>[a-z0-9][a-z0-9._-]{0,63})"
_VERSION = r"(?:/versions/(?P<version>[1-9][0-9]{0,8}))?"
_MANY_PATHS = 10_000
# Of what these say, a plain request heeds all that there is to heed.
_UNUSUAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade"})


class Connection(Protocol):
    """What an exchange needs of the connection it came on."""

    transport: asyncio.Transport
    flow: FlowControl
    server_state: ServerState

    def on_response_complete(self) -> None:
        """Let the next request in."""


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
    version: int | None
    wire: WireFormat
    path: str
    route: str
    length: int
    milliseconds: int
    request_id: str | None
    header: str | None  # the one the format reads

    def says(self, url: bytes, headers: Headers) -> bool:
        """Whether another request's first line and headers are the same, as they mostly are."""
        return self.url == url and self.headers == headers


class Express:
    """Recognise what may go the short way, and let it."""

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        records: Records,
        tidy: Tidy,
        routes: Sequence[HotRoute],
    ) -> None:
        self.engine = engine
        self.limits = limits
        self.records = records
        self.tidy = tidy
        self.loop = asyncio.get_running_loop()
        self._routes = [(hot.matcher(), hot) for hot in routes]
        self._paths: dict[bytes, tuple[HotRoute, str, int | None]] = {}
        self._written: tuple[Headers, bytes] = (), b""

    def head(self, url: bytes, headers: Headers) -> Head | None:
        """Return what a request says if it is plain; ``headers`` have names in lower case."""
        found = self._paths.get(url) or self._recognise(url)
        if found is None:
            return None
        hot, name, version = found
        given = dict(headers)
        if len(given) != len(headers) or not _UNUSUAL.isdisjoint(given):
            return None
        length = given.get(b"content-length", b"")
        if not (length.isdigit() and len(length) <= 9):  # noqa: PLR2004
            return None
        media_type = _text(given.get(b"content-type")) or ""
        asked = _text(given.get(TIMEOUT.encode()))
        if media_type not in hot.wire.accepted or int(length) > self.limits.max_body_bytes:
            return None
        try:
            milliseconds = self.limits.deadline_ms(asked)
        except RequestError:
            return None
        return Head(
            url,
            headers,
            name,
            version,
            hot.wire,
            url.decode(),
            hot.path if version is None else _versioned(hot.path),
            int(length),
            milliseconds,
            _text(given.get(b"x-request-id")),
            _text(given.get(hot.wire.header.encode())) if hot.wire.header else None,
        )

    def written(self, headers: Headers) -> bytes:
        """Return the headers of every answer as bytes; uvicorn makes new ones each second."""
        if headers is not self._written[0]:
            lines = (name + b": " + value + b"\r\n" for name, value in headers)
            self._written = headers, b"".join(lines)
        return self._written[1]

    def _recognise(self, url: bytes) -> tuple[HotRoute, str, int | None] | None:
        for pattern, hot in self._routes:
            match = pattern.fullmatch(url)
            if match:
                version = match["version"]
                found = hot, match["name"].decode(), int(version) if version else None
                if len(self._paths) < _MANY_PATHS:
                    self._paths[url] = found
                return found
        return None


class Exchange:
    """
    One request on the short way, in the place of uvicorn's cycle of request and response.

    The protocol fills ``body`` and says ``set`` when something has come: bytes, the end of the
    request, or the client's leaving.  It is answered once, whatever comes first: the answer,
    a refusal, the deadline; a client who leaves takes its work out of the queue at once.
    """

    __slots__ = (
        "_connection",
        "_express",
        "_head",
        "_model",
        "_query",
        "_request_id",
        "_started",
        "_ticket",
        "_timer",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
    )

    def __init__(
        self,
        express: Express,
        connection: Connection,
        head: Head,
        model: LoadedModel,
        *,
        keep_alive: bool,
    ) -> None:
        self.body = bytearray()
        self.more_body = True
        self.disconnected = self.response_complete = False
        self.keep_alive = keep_alive
        self._express = express
        self._connection = connection
        self._head = head
        self._model = model
        self._request_id = identify(head.request_id)
        self._query: Query | None = None
        self._ticket: Ticket | None = None
        self._started = time.perf_counter()
        self._timer = express.loop.call_later(head.milliseconds / 1000, self._expire)

    @property
    def message_event(self) -> Self:
        """What the protocol calls ``set`` of."""
        return self

    def set(self) -> None:
        """Look at what has come."""
        if self.response_complete:
            return
        if self.disconnected:
            self._end(499)
        elif self.more_body:
            self._connection.flow.resume_reading()  # the length is known and allowed
        elif self._query is None:
            self._ask()

    def _ask(self) -> None:
        head, model, express = self._head, self._model, self._express
        try:
            self._query = head.wire.read(
                bytes(self.body), head.header, model.card, express.limits.max_sequences
            )
            self._ticket = express.engine.submit(model, self._query.rows, self._told)
        except Exception as exc:  # noqa: BLE001  whatever it is, the client must not wait for ever
            self._refuse(exc)

    def _told(self, ticket: Ticket) -> None:
        if self._query is None:
            return
        try:
            answers = ticket.result()
            insist_on_finite(answers)
            reply = self._query.write(answers, self._model.entry.version)
        except Exception as exc:  # noqa: BLE001  as above
            self._refuse(exc)
        else:
            self._respond(200, reply.body, reply.media_type, reply.headers)

    def _expire(self) -> None:
        if not self.response_complete:
            self.keep_alive = self.keep_alive and not self.more_body
            self._refuse(DeadlineExceeded(self._head.milliseconds))

    def _refuse(self, error: Exception) -> None:
        if not isinstance(error, (RequestError, EngineError)):  # a defect of ours
            log.error("Exception on the short way", exc_info=error)
            self._respond(500, b"Internal Server Error", "text/plain; charset=utf-8", {})
            return
        response: Response = answer(error, self._request_id)
        headers = {key: value for key, value in response.headers.items() if key not in _OURS}
        self._respond(response.status_code, bytes(response.body), response.media_type, headers)

    def _respond(
        self, status: int, body: bytes, media_type: str | None, headers: Mapping[str, str]
    ) -> None:
        connection = self._connection
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items()) if headers else ""
        close = "" if self.keep_alive else "connection: close\r\n"
        ours = (
            f"content-length: {len(body)}\r\ncontent-type: {media_type}\r\n"
            f"x-request-id: {self._request_id}\r\n{more}{close}\r\n"
        )
        every = self._express.written(connection.server_state.default_headers)
        connection.transport.write(b"".join((STATUS_LINE[status], every, ours.encode(), body)))
        self._end(status)
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()

    def _end(self, status: int) -> None:
        self.response_complete = True
        self._timer.cancel()
        ticket, head, express = self._ticket, self._head, self._express
        timing: Timing | None = None
        if ticket is not None:
            if status == 200:  # noqa: PLR2004
                timing = ticket.timing
            self._model.batcher.release(ticket)
        self.body, self._query, self._ticket = _NO_BODY, None, None  # nothing large stays
        express.tidy.after(head.length)
        seconds = time.perf_counter() - self._started
        express.records.add(
            Visit(self._request_id, "POST", head.path, head.route, status, seconds, timing)
        )


_NO_BODY = bytearray()
_OURS = frozenset({"content-length", "content-type", "connection"})


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _versioned(path: str) -> str:
    return path.replace("{name}", "{name}/versions/{version}")
