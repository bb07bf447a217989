"""uvicorn's WebSocket protocol, with bounds on what one client may make the service do."""

from asyncio import BaseTransport, TimerHandle
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidHandshake, InvalidHeader
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

from service.http.errors import MalformedHttp, OtherWebSocket, RequestError
from service.http.journal.records import RECORDS, Records
from service.http.transport.answers import farewell, lines

SLICE = 4096  # bytes that are parsed before anything is counted
CONTROL_FRAMES = 100  # pings and pongs a second
FRAGMENTS = 4096  # of one message
PATIENCE = 30.0  # seconds for the rest of a message that has begun


class Protocol(WebSocketsSansIOProtocol):
    """
    A connection that is closed where uvicorn would go on for ever.

    That is when its handshake cannot be read, when it sends control frames or fragments without
    end, and when a message that it has begun does not come.
    """

    _head: bytes | None = None  # of the upgrade, until it is accepted
    _second = 0.0  # when the second began whose control frames are counted
    _control_frames = 0
    _waiting: TimerHandle | None = None  # for the rest of a message

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._second = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(partial=False)
        super().connection_lost(exc)
        self.conn.parser.close()  # its frame holds the connection that holds it

    def data_received(self, data: bytes) -> None:
        """Parse what came, a little at a time, until the connection is to be closed."""
        if self._head is None:  # it comes first, and whole: it has been parsed once
            self._head = data.partition(b"\r\n\r\n")[0]
        for begin in range(0, len(data), SLICE):
            super().data_received(data[begin : begin + SLICE])
            if self.conn.handshake_exc is not None:
                self._refuse(MalformedHttp("The upgrade cannot be read."))
            if self.transport.is_closing():
                return
        self._wait(partial=bool(self.frames or self.conn.reader.buffer))

    def handle_connect(self, event: Request) -> None:
        """Begin a stream, or refuse a handshake that is none; websockets would say so bare."""
        try:
            self.conn.process_request(event)
        except InvalidHandshake as exc:
            self._refuse(_unfit(exc))
        else:
            self._head = b""
            super().handle_connect(event)

    async def send(self, message: Any) -> None:  # noqa: ANN401  uvicorn's type, of private names
        """Send; an upgrade that the application has refused whole is over, too."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True

    def handle_ping(self) -> None:
        if self._count_control_frame():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._count_control_frame():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= FRAGMENTS:
            self._fail(CloseCode.POLICY_VIOLATION, "too many fragments")
        else:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, "not UTF-8")
                return
        super().send_receive_event_to_app()

    def _count_control_frame(self) -> bool:
        """Return whether one more may come; close the connection if not."""
        now = self.loop.time()
        if now - self._second >= 1:
            self._second, self._control_frames = now, 0
        self._control_frames += 1
        if self._control_frames > CONTROL_FRAMES:
            self._fail(CloseCode.POLICY_VIOLATION, "too many control frames")
            return False
        return True

    def _wait(self, *, partial: bool) -> None:
        """Begin to wait for the rest of a message, or stop."""
        if not partial and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        elif partial and self._waiting is None:
            self._waiting = self.loop.call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        self._waiting = None
        if self.read_paused:  # it is we who do not read
            self._wait(partial=True)
        elif not self.transport.is_closing():
            self._fail(CloseCode.POLICY_VIOLATION, "the rest of a message did not come")

    def _refuse(self, error: RequestError) -> None:
        """Answer an upgrade that cannot be accepted, and record it."""
        self.handshake_complete = self.close_sent = True
        if self.transport.is_closing():
            return
        first, *rest = (self._head or b"").split(b"\r\n")
        headers = [(name, value) for name, _, value in (line.partition(b": ") for line in rest)]
        url = first.split(b" ")[1]
        sent, visit = farewell(error, "GET", url, headers, lines(self.default_headers))
        self.transport.write(sent)
        self.transport.close()
        records: Records | None = self.app_state.get(RECORDS)
        if records is not None:
            records.add(visit)

    def _fail(self, code: CloseCode, reason: str) -> None:
        """Close the connection at once, and tell the application as its end."""
        if self.transport.is_closing():
            return
        self.frames = []
        self.conn.fail(code, reason)
        event: Any = {"type": "websocket.disconnect", "code": int(code), "reason": reason}
        self.queue.put_nowait(event)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()


def _unfit(exc: InvalidHandshake) -> RequestError:
    """Return what to say of a handshake that websockets does not take, without its values."""
    if not isinstance(exc, InvalidHeader):
        return MalformedHttp("The upgrade cannot be read.")
    if exc.name == "Sec-WebSocket-Version":
        return OtherWebSocket()
    return MalformedHttp(f"The upgrade's {exc.name} is missing or cannot be read.")
