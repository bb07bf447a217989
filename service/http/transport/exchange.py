"""One request on the short way: its body, its deadline, its answer."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Protocol, Self

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from service.engine.core import LoadedModel, insist_on_finite
from service.engine.errors import EngineError
from service.engine.jobs import Ticket, Timing
from service.http.errors import RequestError
from service.http.journal.records import DEFECT, Visit, identify
from service.http.prediction import Query
from service.http.problems.table import reason
from service.http.request.limits import left
from service.http.transport.answers import problem, written
from service.http.transport.express import Express, Head

log = logging.getLogger(__name__)

_NO_BODY = bytearray()


class Connection(Protocol):
    """What an exchange needs of the connection it came on."""

    transport: asyncio.Transport
    flow: FlowControl
    server_state: ServerState

    def begin_answer(self) -> None:
        """Hear that from now on nobody else may answer."""

    def on_response_complete(self) -> None:
        """Let the next request in."""

    def hang_up(self) -> None:
        """Close, once the client has heard the answer."""


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
        "_milliseconds",
        "_model",
        "_origin",
        "_query",
        "_reason",
        "_request_id",
        "_sent",
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
        self._reason: str | None = None
        self._sent = 0
        self._origin = express.records.begin("POST", head.headers)
        self._started = time.perf_counter()
        self._milliseconds: float = head.milliseconds
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
            if self._query.timeout is not None:
                self._shorten(self._query.timeout)
            self._ticket = express.engine.submit(model, self._query.rows, self._told)
            self._ticket.origin = self._origin
            self._ticket.expires = self._started + self._milliseconds / 1000
        except Exception as exc:  # noqa: BLE001  whatever it is, the client must not wait for ever
            self.refuse(exc)

    def _shorten(self, seconds: float) -> None:
        if seconds * 1000 < self._milliseconds:
            self._milliseconds = seconds * 1000
            self._timer.cancel()
            self._timer = self._express.loop.call_later(left(seconds, self._started), self._expire)

    def _told(self, ticket: Ticket) -> None:
        if self._query is None:
            return
        try:
            answers = ticket.result()
            insist_on_finite(answers)
            reply = self._query.write(answers, self._model.entry.version)
        except Exception as exc:  # noqa: BLE001  as above
            self.refuse(exc)
        else:
            self._respond(200, reply.body, reply.media_type, reply.headers)

    def _expire(self) -> None:
        if not self.response_complete:
            whole = not self.more_body
            self.keep_alive = self.keep_alive and whole
            self.refuse(self._express.limits.late(self._milliseconds, whole=whole))

    def refuse(self, error: Exception) -> None:
        """Answer with an error."""
        if not isinstance(error, (RequestError, EngineError)):  # a defect of ours
            log.error("Exception on the short way", exc_info=error)
            self._reason = DEFECT
            self._respond(500, b"Internal Server Error", "text/plain; charset=utf-8", {})
            return
        self._reason = reason(error)
        self._respond(*problem(error, self._request_id))

    def _respond(
        self, status: int, body: bytes, media_type: str | None, headers: Mapping[str, str]
    ) -> None:
        connection = self._connection
        every = self._express.every(connection.server_state.default_headers)
        self._sent, close = len(body), not self.keep_alive
        connection.begin_answer()
        connection.transport.write(
            written(status, every, self._request_id, body, media_type, headers, close=close)
        )
        self._end(status)
        if close:
            connection.hang_up()
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
        received = len(self.body)
        self.body, self._query, self._ticket = _NO_BODY, None, None  # nothing large stays
        express.tidy.after(head.length)
        seconds = time.perf_counter() - self._started
        express.records.add(
            Visit(
                self._request_id,
                "POST",
                head.path,
                head.route,
                status,
                seconds,
                timing,
                self._model.entry,
                received,
                self._sent,
                self._reason,
                head.grant.name if head.grant is not None else None,
                origin=self._origin,
            )
        )
        del self._model  # an idle connection must not keep a version in memory
