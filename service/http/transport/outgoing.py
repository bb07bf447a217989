"""What leaves a connection: on which way, and how much of it a client has not taken yet."""

import sys
from asyncio import Transport
from collections.abc import Callable
from fcntl import ioctl
from termios import TIOCOUTQ


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
