"""uvicorn's HTTP protocol with a short way for predictions; all else is uvicorn's own."""

from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.engine.errors import EngineStopped
from service.http.exchange import Exchange
from service.http.express import Express, Head
from service.http.refusal import refusal
from service.http.stopping import STOPPING, Stopping

EXPRESS = "express"  # where the lifespan's state holds the short way


class Protocol(HttpToolsProtocol):
    """
    A connection that puts an Exchange in the place of a cycle where the request is plain.

    A request that comes before the last one is answered (pipelining) is never plain.
    """

    _head: Head | None = None  # the last plain one of this connection

    def on_headers_complete(self) -> None:
        """Choose the way of a request."""
        exchange = self._plain()
        if exchange is None:
            super().on_headers_complete()
        else:  # what the protocol asks of a cycle an exchange answers
            self.cycle = cast(RequestResponseCycle, exchange)
        stopping: Stopping | None = self.app_state.get(STOPPING)
        if stopping is not None and stopping.begun and self.cycle is not None:
            self.cycle.keep_alive = False

    def refuse(self) -> None:
        """Answer what runs that the service stops, unless its answer has begun, and close."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not getattr(cycle, "response_started", False):
                self.transport.write(refusal(EngineStopped()))
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    def _plain(self) -> Exchange | None:
        express: Express | None = self.app_state.get(EXPRESS)
        parser, head = self.parser, self._head
        if (
            express is None
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
        model = express.engine.serving(head.name, head.version)
        if model is None:
            return None
        return Exchange(express, self, head, model, keep_alive=parser.should_keep_alive())
