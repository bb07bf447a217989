"""
uvicorn's HTTP protocol with bounds, and with problems for answers to what is no HTTP.

``connections`` says what the bounds are, ``framing`` what a head must be; here they are looked at.
"""

import logging
from asyncio import BaseTransport, Transport
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.http.access import REFUSAL
from service.http.answers import Outgoing, farewell, lines, untaken
from service.http.connections import Connections, Line
from service.http.errors import MalformedHttp, RequestError, RequestTimeout, TooManyConnections
from service.http.framing import HEALTH, Chunks, Stage, explain, inspect, measure, without_upgrade
from service.http.records import RECORDS, Records

ONE_READ = 2**18  # bytes; a head may come with the end of the request before it
log = logging.getLogger(__name__)
NOTHING, HEAD, BODY, WHOLE = Stage


class Bounded(HttpToolsProtocol):
    """
    A connection whose client may be of any kind.

    Who sends what is no request, too much, or too slowly, gets one last answer, a problem that is
    counted and logged like others: after it nothing is read.
    """

    url = b""
    _stage = NOTHING
    _line: Line | None = None  # where this connection waits
    _came = 0  # bytes of a head that is not complete
    _chunks: Chunks | None = None  # of the body that comes
    _upgrading = False
    _surplus = False  # no room was left when this connection came
    _deaf = False  # whatever else comes is dropped
    _last: RequestError | None = None  # told when what came before it is answered
    _untaken = 0  # bytes that the client had not read when it was last looked at

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        register: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._register = register

    def connection_made(self, transport: BaseTransport) -> None:
        """Take a place, or somebody's."""
        self._surplus = not self._register.admit(self.connections)
        super().connection_made(cast(Transport, transport))
        self._wait(self._register.heads)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._untaken = untaken(self.transport)
        self._settle()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._settle()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and see what is still to come."""
        if self._deaf:
            return
        try:
            self.parser.feed_data(data)
            if self._stage is not WHOLE:
                self._expect_more(len(data))
            elif self._line is not None and not self.cycle.response_complete:
                self._wait(None)
        except httptools.HttpParserUpgrade as switch:
            self._upgrade(data[switch.args[0] :])
        except httptools.HttpParserError as error:
            self._give_up(error)
        except RequestError as error:
            self._fail(error)

    def on_message_begin(self) -> None:
        """Forget the last request; what uvicorn's cycle needs is made for those that have one."""
        self._stage, self.url, self.headers = HEAD, b"", []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stage is not HEAD:
            return  # a trailer, and nobody here reads one
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin a request; raise RequestError if it is refused."""
        self.inspect()
        self.begin_cycle()
        self._stage = BODY

    def on_chunk_header(self) -> None:
        if self._chunks is not None:
            self._chunks.begin()

    def on_body(self, body: bytes) -> None:
        if self._chunks is not None:
            self._chunks.body(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stage, self._came = WHOLE, -ONE_READ
        if not self._upgrading:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Let the next request in, or say why there is none."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last is not None:
            self._refuse(self._last)
        else:
            self._settle()

    def overdue(self) -> None:
        """End a wait that was too long; who reads its answer slowly, but reads, may go on."""
        connections, line = self._register, self._line
        left = untaken(self.transport)
        if left and (line is not connections.unread or left < self._untaken):
            self._untaken = left
            self._wait(connections.unread)
        elif line in (connections.heads, connections.bodies) and self.flow.read_paused:
            self._wait(line)  # it is we who do not read
        elif line is connections.bodies:
            self._fail(RequestTimeout("body", line.seconds))
        elif line is connections.heads and self._stage is HEAD:
            self._fail(RequestTimeout("head", line.seconds))
        else:  # nothing was begun: an answer might be taken for that of a request on its way
            self._wait(None)
            self.transport.abort()

    def give_way(self) -> None:
        """End, for another needs the place."""
        if self._stage is HEAD and (self.cycle is None or self.cycle.response_complete):
            self._tell(TooManyConnections())
        self._wait(None)
        self.connections.discard(self)  # the place is free at once
        self.transport.close()

    def hang_up(self) -> None:
        """
        Close, once the client has heard what was written.

        Who still sends is heard out for a moment: the system's answer to bytes that nobody reads
        is a reset, and it may overtake ours.
        """
        if self.transport.is_closing():
            return
        if self._stage is WHOLE:
            self.transport.close()
            self._wait(self._register.unread)
        else:
            self._deaf = True
            self.transport.write_eof()
            self.flow.resume_reading()
            self._wait(self._register.lingering)

    def _wait(self, line: Line | None) -> None:
        """Leave the line, and go to the end of this one."""
        if self._line is not None:
            del self._line.since[self]
        self._line = line
        if line is not None:
            line.since[self] = self.loop.time()

    def _settle(self) -> None:
        """Wait for what is due next."""
        connections, stage, cycle = self._register, self._stage, self.cycle
        if self._deaf or self.transport.is_closing():
            return
        if stage is BODY:
            line: Line | None = connections.bodies
        elif stage is not WHOLE:
            line = connections.heads
        elif self.flow.write_paused:
            line = connections.unread
        else:
            line = connections.idle if cycle.response_complete else None
        if line is not self._line or line is connections.idle:
            self._wait(line)

    def _expect_more(self, size: int) -> None:
        """Count what has come of a request that is not complete; raise RequestError if too much."""
        if self._chunks is not None:
            self._chunks.came(size)
        if self._stage is HEAD:
            self._came += size
            measure(len(self.url), self._came - len(self.url), self._register.bounds)
        self._settle()

    def inspect(self) -> None:
        """Raise RequestError if the request is refused for its head."""
        if self._surplus and not HEALTH.fullmatch(self.url):
            raise TooManyConnections
        version, bounds = self.parser.get_http_version(), self._register.bounds
        inspect(version, self.url, self.headers, bounds)

    def begin_cycle(self) -> None:
        """Begin a cycle of uvicorn's, of request and response."""
        self._upgrading = self.parser.should_upgrade()
        if self._upgrading:
            if self.parser.get_method() == b"CONNECT":
                raise MalformedHttp("Nothing is tunnelled.")
            if self.cycle is not None and not self.cycle.response_complete:
                raise MalformedHttp("An upgrade must wait for the answer before it.")
            if not self._should_upgrade():
                return  # the request comes again, without the upgrade
        url, headers, expected = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expected
        self.headers += headers  # in the scope, too
        super().on_headers_complete()
        if self._upgrading:
            return
        chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        self._chunks = Chunks(self._register.bounds) if chunked else None
        self.cycle.transport = cast(Transport, Outgoing(self.transport, self.hang_up))
        if self._surplus:
            self.cycle.keep_alive = False

    def _upgrade(self, rest: bytes) -> None:
        """Become a WebSocket; an upgrade to anything else is a request like others."""
        if self._should_upgrade():
            self._wait(None)
            self.handle_websocket_upgrade()
            return
        again = without_upgrade(self.parser.get_method(), self.url, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(again + rest)

    def _give_up(self, error: httptools.HttpParserError) -> None:
        told = explain(error)
        if told is None:
            log.error("Exception in the protocol", exc_info=error.__context__)
            self.transport.abort()
        else:
            self._fail(told)

    def _fail(self, error: RequestError) -> None:
        """Read no more, and say why in the place of the answer that is due."""
        cycle: Any = self.cycle
        answered = cycle is None or cycle.response_complete
        self._deaf = True
        if self._stage is BODY:
            if answered:
                self.hang_up()
                return
            cycle.keep_alive = False
            self._wait(None)
            self.refuse_cycle(error)
        elif answered:
            self._refuse(error)
        else:
            self._last = error
            self._wait(None)

    def refuse_cycle(self, error: RequestError) -> None:
        """Let the application answer with an error in the place of the rest of the body."""
        cast(dict[str, Any], self.cycle.scope)[REFUSAL] = error
        self.cycle.message_event.set()

    def _refuse(self, error: RequestError) -> None:
        self._tell(error)
        self._stage = HEAD  # whatever it was, more may come
        self.hang_up()

    def _tell(self, error: RequestError) -> None:
        """Write an answer outside of any cycle, and record it."""
        method = self.parser.get_method().decode() if self.url else "none"
        every = lines(self.server_state.default_headers)
        sent, visit = farewell(error, method, self.url, self.headers or [], every)
        self.transport.write(sent)
        records: Records | None = self.app_state.get(RECORDS)
        if records is not None:
            since = self._line.since[self] if self._line is not None else self.loop.time()
            records.add(visit._replace(seconds=self.loop.time() - since))
