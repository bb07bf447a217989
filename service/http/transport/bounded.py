"""
uvicorn's HTTP protocol with bounds, and with problems for answers to what is no HTTP.

``connections`` says what the bounds are, ``framing`` what a head must be; here they are looked at.
"""

import logging
from asyncio import Transport
from typing import cast

import httptools

from service.http.errors import MalformedHttp, RequestError, TooManyConnections
from service.http.transport.framing import (
    HEALTH,
    Chunks,
    explain,
    inspect,
    measure,
    without_upgrade,
)
from service.http.transport.outgoing import Outgoing
from service.http.transport.patient import BODY, HEAD, WHOLE, Patient

ONE_READ = 2**18  # bytes; a head may come with the end of the request before it
log = logging.getLogger(__name__)


class Bounded(Patient):
    """A connection on which anything may come: what is no request, or too much, is refused."""

    _came = 0  # bytes of a head that is not complete
    _chunks: Chunks | None = None  # of the body that comes
    _upgrading = False

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
            if self._chunks is not None:
                self._chunks.trailer(name, value)  # which nobody here reads
            return
        name, value = name.lower(), value.rstrip(b" \t")  # as RFC 9112, 5.1 has it
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

    def _should_upgrade(self) -> bool:
        """Whether it asks as a WebSocket may; anything else is a request like others."""
        upgrade: bool = self.parser.get_method() == b"GET" and super()._should_upgrade()
        return upgrade

    def _expect_more(self, size: int) -> None:
        """Count what has come of a request that is not complete; raise RequestError if too much."""
        if self._chunks is not None:
            self._chunks.came(size)
        if self._stage is HEAD:
            self._came += size
            measure(len(self.url), self._came - len(self.url), self._register.bounds)
        self._settle()

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
