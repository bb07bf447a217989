"""Start ``seqserve serve`` in a process of its own, wait until it is ready, and end it again."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

START_TIMEOUT = 60  # seconds
STOP_TIMEOUT = 30
KEEPER = "keeper"  # the name of the process beside each worker
# There is no balancer to wait for, and a worker that dies is to be seen.
QUICK = {"SEQSERVE_DRAIN_S": "0", "SEQSERVE_SPARES": "0"}


class NotStarted(RuntimeError):
    """The service ended, or was not ready in time; the message holds its log."""


@dataclass(frozen=True, slots=True)
class Served:
    """A service that is ready."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The supervisor's number; a worker's is another."""
        return self.process.pid

    def workers(self) -> list[int]:
        """Return the numbers of the processes that it has started and that run."""
        return [pid for pid, name in self._children() if name != KEEPER]

    def keepers(self) -> list[int]:
        """Return the numbers of the processes beside them."""
        return [pid for pid, name in self._children() if name == KEEPER]

    def _children(self) -> Iterator[tuple[int, str]]:
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            with suppress(OSError):  # it may have ended meanwhile
                yield int(pid), Path(f"/proc/{pid}/comm").read_text().strip()


@contextmanager
def serving(
    log: Path, *options: str, port: int = 0, environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """
    Yield a service that listens on ``port``, or on a free one, and writes to ``log``.

    ``options`` are those of ``seqserve serve``.  Raises NotStarted.
    """
    port = _await_free(port) if port else free_port()
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port), *options]
    with log.open("w") as stream:
        process = subprocess.Popen(  # noqa: S603  our own command
            command,
            stdout=stream,
            stderr=stream,
            env={**os.environ, **QUICK, **(environment or {})},
        )
    served = Served(f"http://127.0.0.1:{port}", process)
    try:
        _await_ready(served.url, process, log)
        yield served
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT)


def free_port(preferred: int = 0) -> int:
    """Return ``preferred`` if nobody listens there, else a port that is free now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_free(port: int) -> int:
    """Return ``port`` once nobody listens there: workers die a moment after their supervisor."""
    deadline = time.monotonic() + STOP_TIMEOUT
    while free_port(port) != port:
        if time.monotonic() > deadline:
            raise NotStarted(f"port {port} is in use")
        time.sleep(0.005)
    return port


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    # A client of its own for each look would read the system's certificates each time.
    with httpx.Client(base_url=url, verify=False) as client:  # noqa: S501  it is plain HTTP
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(httpx.TransportError):
                if client.get("/health/ready").is_success:
                    return
            time.sleep(0.05)
    raise NotStarted(log.read_text())
