"""
uvicorn's HTTP protocol for clients who come, read and write as slowly as they like.

``connections`` says for what a connection may wait, and how long; what has come of a request says
who parses it.
"""

from asyncio import BaseTransport, Transport
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.http.errors import RequestError, RequestTimeout, TooManyConnections
from service.http.journal.recorder import REFUSAL
from service.http.journal.records import RECORDS, Records
from service.http.transport.answers import farewell, lines
from service.http.transport.connections import Connections, Line
from service.http.transport.framing import Stage
from service.http.transport.outgoing import untaken

NOTHING, HEAD, BODY, WHOLE = Stage


class Patient(HttpToolsProtocol):
    """
    A connection that is waited for, but not for ever.

    Who is refused gets one last answer, a problem that is counted and logged like others: after
    it nothing is read.
    """

    url = b""
    _stage = NOTHING
    _line: Line | None = None  # where this connection waits
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
