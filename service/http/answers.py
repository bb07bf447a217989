"""Answers as the bytes that leave, where no framework writes them."""

import sys
from asyncio import Transport
from collections.abc import Callable, Mapping, Sequence
from fcntl import ioctl
from termios import TIOCOUTQ

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.http.errors import RequestError
from service.http.problems import answer, reason
from service.http.records import Visit, identify

Headers = Sequence[tuple[bytes, bytes]]

_WRITTEN_HERE = frozenset({"content-length", "content-type", "connection"})


def written(  # noqa: PLR0913, PLR0917  what an answer has
    status: int,
    every: bytes,
    request_id: str,
    body: bytes,
    media_type: str | None,
    headers: Mapping[str, str],
    *,
    close: bool,
) -> bytes:
    """Return an answer; ``every`` are the headers that all have, as lines."""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items()) if headers else ""
    last = "connection: close\r\n" if close else ""
    ours = (
        f"content-length: {len(body)}\r\ncontent-type: {media_type}\r\n"
        f"x-request-id: {request_id}\r\n{more}{last}\r\n"
    )
    return b"".join((STATUS_LINE[status], every, ours.encode(), body))


def problem(
    error: Exception, request_id: str | None
) -> tuple[int, bytes, str | None, dict[str, str]]:
    """Return status, body, media type and the other headers of an error that is in the table."""
    told = answer(error, request_id)
    headers = {name: value for name, value in told.headers.items() if name not in _WRITTEN_HERE}
    return told.status_code, bytes(told.body), told.media_type, headers


def farewell(
    error: RequestError, method: str, url: bytes, headers: Headers, every: bytes
) -> tuple[bytes, Visit]:
    """Return the last answer of a connection, to what may be no request, and its record."""
    given = dict(headers).get(b"x-request-id")
    request_id = identify(None if given is None else given.decode("latin-1"))
    status, body, media_type, more = problem(error, request_id)
    path = url.partition(b"?")[0].decode("latin-1")
    visit = Visit(
        request_id, method, path, "none", status, 0.0, sent=len(body), reason=reason(error)
    )
    return written(status, every, request_id, body, media_type, more, close=True), visit


def refusal(error: Exception) -> bytes:
    """Return an answer that is nobody's in particular, and closes the connection."""
    status, body, media_type, more = problem(error, None)
    kept = "".join(f"{name}: {value}\r\n" for name, value in more.items())
    head = f"content-length: {len(body)}\r\ncontent-type: {media_type}\r\n{kept}"
    return STATUS_LINE[status] + f"{head}connection: close\r\n\r\n".encode() + body


def lines(headers: Headers) -> bytes:
    """Return headers as they are written."""
    return b"".join(name + b": " + value + b"\r\n" for name, value in headers)


def untaken(transport: Transport) -> int:
    """Return how many bytes a client has not taken yet; 0 if the system holds all of them."""
    ours = transport.get_write_buffer_size()
    if not ours:
        return 0
    number = transport.get_extra_info("socket").fileno()
    return ours + int.from_bytes(ioctl(number, TIOCOUTQ, bytes(4)), sys.byteorder)


class Outgoing:
    """
    What a cycle of uvicorn's needs of a transport.

    To close it is to hang up; and what is written to a client who has gone is dropped, for of
    several cycles of a connection uvicorn tells only the last one.
    """

    __slots__ = ("_write", "begin", "close", "is_closing")

    def __init__(self, transport: Transport, hang_up: Callable[[], None]) -> None:
        self._write, self.is_closing, self.close = transport.write, transport.is_closing, hang_up
        self.begin: Callable[[], None] | None = None  # told before anything leaves

    def write(self, data: bytes) -> None:
        """Send bytes of an answer to a client who is still there."""
        if not self.is_closing():
            if self.begin:
                self.begin()
            self._write(data)
