"""One port for many processes: each opens it for itself, and the kernel deals out connections."""

import socket
from collections.abc import Callable
from typing import Self


class SharedPort(socket.socket):
    """
    A bound address that becomes a socket of its own in every process it is sent to.

    Processes that accept from one inherited socket take what they can, and of 256 connections
    one of two had 190; with ``SO_REUSEPORT`` the kernel spreads them by hash.
    """

    @classmethod
    def open(cls, host: str, port: int) -> Self:
        """Bind, without listening; port 0 is any free one.  Raise OSError."""
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = cls(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.bind(address)
        except OSError:
            made.close()
            raise
        return made

    def __reduce__(self) -> tuple[Callable[[str, int], "SharedPort"], tuple[str, int]]:
        """Travel as an address, to be opened anew."""
        host, port = self.getsockname()[:2]
        return SharedPort.open, (host, port)
