"""WebSocket frames as a client may send them, the wrong ones too, and a stream that takes them."""

import json
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from examples.serving import Served
from tests.http.wire import Said, connect, read

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
UPGRADE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length: int | None = None,
    wide: int = 0,
) -> bytes:
    """
    Return a frame, masked with zeros.

    ``length`` is what it says its payload has, ``wide`` the bytes to say so in: 0, 2 or 8.
    """
    size = len(payload) if length is None else length
    wide = wide or (0 if size < 126 else 2 if size < 2**16 else 8)
    short = size if not wide else 126 if wide == 2 else 127
    head = bytes([fin << 7 | reserved << 4 | opcode, masked << 7 | short])
    return head + (size.to_bytes(wide, "big") if wide else b"") + bytes(4 * masked) + payload


def closing(code: int, reason: bytes = b"") -> bytes:
    """Return a frame that closes."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def upgrade(path: str, changes: Mapping[str, str | None], method: str = "GET") -> bytes:
    """Return a handshake with some headers changed, or left out."""
    lines = [f"{name}: {value}" for name, value in (UPGRADE | changes).items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


class Closed(Exception):
    """The service has closed the stream, with a code or 0 for none."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Stream:
    """A WebSocket, to whose other end anything can be sent."""

    def __init__(self, service: Served, path: str, **changes: str | None) -> None:
        self._raw = connect(service)
        self._raw.sendall(upgrade(path, {key.replace("_", "-"): changes[key] for key in changes}))
        self._found = b""
        while b"\r\n\r\n" not in self._found:
            self._more()
        head, _, self._found = self._found.partition(b"\r\n\r\n")
        self.answered: Said = read(head + b"\r\n\r\n")

    def send(self, raw: bytes) -> None:
        """Send bytes; that the service has closed is found when its answer is read."""
        with suppress(ConnectionError):
            self._raw.sendall(raw)

    def told(self) -> dict[str, Any]:
        """Return the next answer, past what answers pings; raise Closed."""
        while True:
            opcode, payload = self._frame()
            if opcode == CLOSE:
                raise Closed(int.from_bytes(payload[:2], "big"))
            if opcode == TEXT:
                told: dict[str, Any] = json.loads(payload)
                return told
            assert opcode == PONG, opcode

    def close(self) -> None:
        self._raw.close()

    def _frame(self) -> tuple[int, bytes]:
        self._need(2)
        opcode, size = self._found[0] & 15, self._found[1]
        wide = {126: 2, 127: 8}.get(size, 0)
        self._need(2 + wide)
        if wide:
            size = int.from_bytes(self._found[2 : 2 + wide], "big")
        self._need(2 + wide + size)
        payload, self._found = self._found[2 + wide :][:size], self._found[2 + wide + size :]
        return opcode, payload

    def _need(self, size: int) -> None:
        while len(self._found) < size:
            self._more()

    def _more(self) -> None:
        more = self._raw.recv(65_536)
        if not more:
            raise Closed(0)
        self._found += more
