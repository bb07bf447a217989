"""Raw bytes to a service, what it says until it closes, and what it holds."""

import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from examples.serving import Served


class Said(NamedTuple):
    """An answer, as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


def connect(service: Served, timeout: float = 20) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout)


def until_closed(raw: socket.socket) -> bytes:
    """Return all that comes until the service closes; raise TimeoutError if it does not."""
    found = b""
    while data := raw.recv(65_536):
        found += data
    return found


def read(answer: bytes) -> Said:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Said(int(first.split()[1]), headers, body)


def one_answer(raw: socket.socket) -> Said:
    """Return the next answer of a connection that stays open; it has a Content-Length."""
    return one_of_many(raw, b"")[0]


def one_of_many(raw: socket.socket, found: bytes) -> tuple[Said, bytes]:
    """Return the next answer, and what has come of those after it."""
    while b"\r\n\r\n" not in found:
        found += _more(raw)
    said = read(found)
    whole = len(found) - len(said.body) + int(said.headers.get("content-length", "0"))
    while len(found) < whole:
        found += _more(raw)
    return read(found[:whole]), found[whole:]


def _more(raw: socket.socket) -> bytes:
    more = raw.recv(65_536)
    assert more, "the service closed the connection"
    return more


def send(service: Served, raw: bytes) -> Said:
    """Send bytes on a new connection; return the one answer, after which it is closed."""
    with connect(service) as connection:
        with suppress(ConnectionError):  # it is answered before all is sent
            connection.sendall(raw)
        return read(until_closed(connection))


def get(service: Served, path: str) -> Said:
    return send(service, f"GET {path} HTTP/1.0\r\n\r\n".encode())


class Kept:
    """A connection that stays open; what is asked on it at once is answered in order."""

    def __init__(self, service: Served) -> None:
        self._raw = connect(service)
        self._raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, *requests: bytes) -> list[Said]:
        """Return the answer to each; all of them have a Content-Length."""
        self._raw.sendall(b"".join(requests))
        found, answers = b"", []
        for _ in requests:
            said, found = one_of_many(self._raw, found)
            answers.append(said)
        return answers

    def close(self) -> None:
        self._raw.close()


def descriptors(service: Served) -> int:
    """Return how many files the workers have open."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in service.workers())


def connections(service: Served) -> int:
    """Return how many connections the service has not closed yet."""
    port = int(service.url.rpartition(":")[2])
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    ours = [state for _, local, _, state, *_ in lines if int(local[9:], 16) == port]
    return sum(state in ("01", "08") for state in ours)  # established, and the other has closed


def waiting(service: Served) -> float:
    """Return how many sequences are in the queues."""
    text = get(service, "/metrics").body.decode()
    return sum(map(float, re.findall(r"^seqserve_waiting\S+ (\S+)", text, re.MULTILINE)))


def comes_true(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Return whether a condition becomes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True
