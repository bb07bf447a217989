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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from fastapi import Response
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.engine.core import Engine, LoadedModel, insist_on_finite
from service.engine.errors import EngineError
from service.engine.jobs import Answer, Ticket, Timing
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


class Call(NamedTuple):
    """A plain request, as its first line and headers tell."""

    model: LoadedModel
    wire: WireFormat
    path: str
    route: str
    length: int
    milliseconds: int
    request_id: str
    header: str | None  # the one the format reads
    keep_alive: bool


class Express:
    """Recognise what may go the short way, and let it."""

    def __init__(
        self, engine: Engine, limits: Limits, records: Records, routes: Sequence[HotRoute]
    ) -> None:
        self.engine = engine
        self.limits = limits
        self.records = records
        self.loop = asyncio.get_running_loop()
        self.tidy = Tidy(self.loop)
        self._routes = [(hot.matcher(), hot) for hot in routes]
        self._paths: dict[bytes, tuple[HotRoute, str, int | None]] = {}

    def call(self, url: bytes, headers: Headers, *, keep_alive: bool) -> Call | None:
        """Return the call if it is plain, else None; ``headers`` have names in lower case."""
        found = self._paths.get(url) or self._recognise(url)
        if found is None:
            return None
        hot, name, version = found
        model = self.engine.serving(name, version)
        given = dict(headers)
        if model is None or len(given) != len(headers) or not _UNUSUAL.isdisjoint(given):
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
        request_id = identify(_text(given.get(b"x-request-id")))
        header = _text(given.get(hot.wire.header.encode())) if hot.wire.header else None
        route = hot.path if version is None else _versioned(hot.path)
        path = url.decode()
        return Call(
            model,
            hot.wire,
            path,
            route,
            int(length),
            milliseconds,
            request_id,
            header,
            keep_alive,
        )

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

    def __init__(
        self, express: Express, call: Call, connection: Connection, headers: Headers
    ) -> None:
        self.body = bytearray()
        self.more_body = True
        self.disconnected = self.response_complete = False
        self.keep_alive = call.keep_alive
        self.message_event: Exchange | _Deaf = self
        self._express = express
        self._call = call
        self._connection = connection
        self._headers = headers
        self._query: Query | None = None
        self._ticket: Ticket | None = None
        self._started = time.perf_counter()
        self._timer = express.loop.call_later(call.milliseconds / 1000, self._expire)

    def set(self) -> None:
        """Look at what has come."""
        if self.response_complete:
            return
        if self.disconnected:
            self._end(499)
        elif self.more_body:
            self._connection.flow.resume_reading()  # the length is known and allowed
        elif self._query is None:
            self._guard(self._ask)

    def _ask(self) -> None:
        call, express = self._call, self._express
        self._query = call.wire.read(
            bytes(self.body), call.header, call.model.card, express.limits.max_sequences
        )
        self._ticket = express.engine.submit(call.model, self._query.rows)
        self._ticket.future.add_done_callback(self._answered)

    def _answered(self, future: asyncio.Future[list[Answer]]) -> None:
        if not self.response_complete:
            self._guard(lambda: self._write(future.result()))

    def _write(self, answers: list[Answer]) -> None:
        insist_on_finite(answers)
        if self._query is not None:
            reply = self._query.write(answers, self._call.model.entry.version)
            self._respond(200, reply.body, reply.media_type, reply.headers)

    def _expire(self) -> None:
        if not self.response_complete:
            self.keep_alive = self.keep_alive and not self.more_body
            self._refuse(DeadlineExceeded(self._call.milliseconds))

    def _guard(self, step: Callable[[], None]) -> None:
        """Take a step; whatever it raises is an answer, too."""
        try:
            step()
        except (RequestError, EngineError) as exc:
            self._refuse(exc)
        except Exception:
            # A defect of ours: the client must not wait for ever, nor learn of our code.
            log.exception("Exception on the short way")
            self._respond(500, b"Internal Server Error", "text/plain; charset=utf-8", {})

    def _refuse(self, error: Exception) -> None:
        response: Response = answer(error, self._call.request_id)
        headers = {key: value for key, value in response.headers.items() if key not in _OURS}
        self._respond(response.status_code, bytes(response.body), response.media_type, headers)

    def _respond(
        self, status: int, body: bytes, media_type: str | None, headers: Mapping[str, str]
    ) -> None:
        lines = [STATUS_LINE[status]]
        lines += [name + b": " + value + b"\r\n" for name, value in self._headers]
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        close = "" if self.keep_alive else "connection: close\r\n"
        lines.append(
            f"content-length: {len(body)}\r\ncontent-type: {media_type}\r\n"
            f"x-request-id: {self._call.request_id}\r\n{more}{close}\r\n".encode()
        )
        lines.append(body)
        self._connection.transport.write(b"".join(lines))
        self._end(status)
        if not self.keep_alive:
            self._connection.transport.close()
        self._connection.on_response_complete()

    def _forget(self) -> None:
        """Let go of all that is large, and of itself, or it would stay until a collection."""
        self.message_event = _DEAF
        self.body = bytearray()
        self._query = self._ticket = None

    def _end(self, status: int) -> None:
        self.response_complete = True
        self._timer.cancel()
        ticket, call = self._ticket, self._call
        timing: Timing | None = None
        if ticket is not None:
            if status == 200:  # noqa: PLR2004
                timing = ticket.timing
                ticket.release()
            else:
                call.model.batcher.abandon(ticket)
        self._forget()
        self._express.tidy.after(call.length)
        seconds = time.perf_counter() - self._started
        self._express.records.add(
            Visit(call.request_id, "POST", call.path, call.route, status, seconds, timing)
        )


class _Deaf:
    """Hears what comes after the answer."""

    def set(self) -> None:
        """Do nothing."""


_DEAF = _Deaf()
_OURS = frozenset({"content-length", "content-type", "connection"})


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _versioned(path: str) -> str:
    return path.replace("{name}", "{name}/versions/{version}")
