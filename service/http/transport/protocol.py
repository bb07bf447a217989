"""The protocol of the service: connections with bounds, and a short way for predictions."""

from asyncio import BaseTransport
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from service.engine.errors import EngineStopped
from service.http.errors import RequestError
from service.http.transport.answers import refusal
from service.http.transport.bounded import Bounded
from service.http.transport.connections import Connections
from service.http.transport.exchange import Exchange
from service.http.transport.express import Express, Head
from service.http.transport.outgoing import Outgoing
from service.http.transport.shedding import SHED, SHEDDING, Shed, Shedding
from service.http.transport.stopping import STOPPING, Stopping
from service.keeper import BEGUN, NONE, OPEN, RUNNING, Marks

EXPRESS = "express"  # where the lifespan's state holds the short way


class Protocol(Bounded):
    """
    A connection that puts an Exchange in the place of a cycle where the request is plain.

    A request that comes before the last one is answered (pipelining) is never plain.
    """

    _head: Head | None = None  # the last plain one of this connection
    _place = 0  # of this connection's mark

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        register: Connections,
        marks: Marks,
    ) -> None:
        super().__init__(config, server_state, app_state, register)
        self._marks, self._shared = marks, marks.shared

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._place = self._marks.place(transport.get_extra_info("socket").fileno())
        self._shared[self._place] = OPEN

    def begin_answer(self) -> None:
        """Mark that nobody else may answer what was asked last."""
        self._shared[self._place] = BEGUN

    def on_response_complete(self) -> None:
        self._shared[self._place] = OPEN
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared[self._place] = NONE
        super().connection_lost(exc)
        self._let_go()

    def handle_websocket_upgrade(self) -> None:
        self._shared[self._place] = NONE
        super().handle_websocket_upgrade()
        self._let_go()

    def _let_go(self) -> None:
        """
        Forget what knows this connection, too: the parser, and the last request.

        They and a body would stay until Python looks for cycles, once in a thousand connections.
        """
        self.parser = self.cycle = None  # type: ignore[assignment]  # as before the first request

    def inspect(self) -> None:
        """Raise RequestError if the request is refused for its head, which is mostly the last."""
        head = self._head
        if head is None or not head.says(self.url, self.headers):
            super().inspect()

    def begin_cycle(self) -> None:
        """Choose the way of a request; what the protocol asks of a cycle an exchange answers."""
        if self.cycle is None or self.cycle.response_complete:
            self._shared[self._place] = RUNNING
        exchange = self._plain()
        if exchange is not None:
            self.cycle = cast(RequestResponseCycle, exchange)
        else:
            super().begin_cycle()
            if not self._upgrading:
                cast(Outgoing, self.cycle.transport).begin = self.begin_answer
        stopping: Stopping | None = self.app_state.get(STOPPING)
        if stopping is not None and stopping.begun and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if cast(object, self.cycle) is SHED:  # who has had its answer for a while
            self.on_response_complete()
            self.app_state[SHEDDING].rest(self)

    def refuse_cycle(self, error: RequestError) -> None:
        """Answer with an error in the place of the rest of the body."""
        if isinstance(self.cycle, Exchange):
            self.cycle.refuse(error)
        else:
            super().refuse_cycle(error)

    def refuse(self) -> None:
        """Answer what runs that the service stops, unless its answer has begun, and close."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not getattr(cycle, "response_started", False):
                self.begin_answer()
                self.transport.write(refusal(EngineStopped()))
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    def _plain(self) -> Exchange | Shed | None:
        """Return what answers a request on the short way, None where it must go the long one."""
        express: Express | None = self.app_state.get(EXPRESS)
        parser, head = self.parser, self._head
        if (
            express is None
            or self._surplus
            or self.root_path
            or parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
            or self.flow.write_paused  # who does not read waits on the long way
            or (self.cycle is not None and not self.cycle.response_complete)
        ):
            return None
        if head is None or not head.says(self.url, self.headers):
            head = self._head = express.head(self.url, self.headers)
        if head is None:
            return None
        model = express.engine.serving(head.name, head.version, head.routing)
        if model is None:
            return None
        if head.grant is not None and not express.admits(head.grant):
            self._head = None  # with other keys in force it may pass again
            return None
        self._upgrading, self._chunks = False, None
        keep_alive = parser.should_keep_alive()
        if keep_alive and model.batcher.full:
            return self._shed(express, head)
        return Exchange(express, self, head, model, keep_alive=keep_alive)

    def _shed(self, express: Express, head: Head) -> Shed:
        """Refuse a request whose body nobody will read."""
        shedding: Shedding = self.app_state[SHEDDING]
        every = express.every(self.server_state.default_headers)
        self.begin_answer()
        self.transport.write(shedding.refuse(head, every))
        return SHED
