"""Messages, with open sockets, between the supervisor and a worker."""

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import NamedTuple, Self

LONGEST = 256  # bytes of a message
MOST_SOCKETS = 64  # in a message


class Said(NamedTuple):
    """One message; an empty word means that the other end was closed."""

    word: str = ""
    value: str = ""
    sockets: tuple[socket.socket, ...] = ()


class Channel:
    """One end of a pair of sockets; messages arrive whole and in order."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)  # noqa: FBT003
        self._end = end
        self._said: asyncio.Queue[Said] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end, self._read)

    @staticmethod
    def pair() -> tuple[socket.socket, socket.socket]:
        """Return a pair of connected sockets, one for each end."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    @classmethod
    def inherited(cls, number: int) -> Self:
        """Return the end whose file descriptor this process inherited."""
        return cls(socket.socket(fileno=number))

    def say(self, word: str, value: str = "", sockets: Sequence[socket.socket] = ()) -> None:
        """Send a message; it is lost if the other end is closed or its buffer full."""
        try:
            numbers = [each.fileno() for each in sockets]
            socket.send_fds(self._end, [f"{word} {value}".encode()], numbers)
        except OSError:
            pass

    async def hear(self) -> Said:
        """Return the next message."""
        return await self._said.get()

    def note(self, word: str, value: str = "") -> None:
        """Add a message of our own behind those that have come."""
        self._said.put_nowait(Said(word, value))

    def close(self) -> None:
        """Close this end."""
        self._loop.remove_reader(self._end)
        self._end.close()

    def _read(self) -> None:
        try:
            data, numbers, _, _ = socket.recv_fds(self._end, LONGEST, MOST_SOCKETS)
        except BlockingIOError:
            return
        except OSError:  # the other end has gone with something of ours unread
            data, numbers = b"", []
        if not data:
            self._loop.remove_reader(self._end)
        word, _, value = data.decode().partition(" ")
        for number in numbers:
            os.set_inheritable(number, False)  # noqa: FBT003
        sockets = tuple(socket.socket(fileno=number) for number in numbers)
        self._said.put_nowait(Said(word, value, sockets))
