"""uvicorn's HTTP protocol with a short way for predictions; all else is uvicorn's own."""

from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.http.express import Call, Exchange, Express

EXPRESS = "express"  # where the lifespan's state holds the short way


class Protocol(HttpToolsProtocol):
    """
    A connection that puts an Exchange in the place of a cycle where the request is plain.

    A request that comes before the last one is answered (pipelining) is never plain.
    """

    def on_headers_complete(self) -> None:
        """Choose the way of a request."""
        call = self._plain_call()
        if call is None:
            super().on_headers_complete()
            return
        exchange = Exchange(self.app_state[EXPRESS], call, self, self.server_state.default_headers)
        # What the protocol asks of a cycle an exchange answers.
        self.cycle = cast(RequestResponseCycle, exchange)

    def _plain_call(self) -> Call | None:
        express: Express | None = self.app_state.get(EXPRESS)
        parser = self.parser
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
        return express.call(self.url, self.headers, keep_alive=parser.should_keep_alive())
