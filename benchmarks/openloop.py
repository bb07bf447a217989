"""
Open-loop load: a request leaves when its time has come, whether or not others were answered.

``wrk`` sends the next request when it has the last answer, so a slow service gets less to do and
looks better than it is.  Here latency counts from the moment a request was due, also where the
generator itself was late; ``lag`` says how late it was.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

TICK = 0.0005  # seconds between two looks at what is due
REST = 10.0  # seconds for the last answers
LIVENESS = 0.02  # seconds between two questions whether the process lives

GOOD, BUSY = 200, 503

Times = list[float]


@dataclass(slots=True)
class Seen:
    """What became of the requests of one level of load; times in seconds."""

    seconds: float
    sent: int = 0
    answered: Times = field(default_factory=list)
    refused: Times = field(default_factory=list)
    failed: int = 0  # another status, no answer, or no connection was free to ask on
    lag: Times = field(default_factory=list)  # of the generator
    live: Times = field(default_factory=list)  # liveness probes
    without_retry_after: int = 0
    in_time: int = 0  # good answers that came while it was counted
    all_answered: int = 0  # good answers, also those before and after

    @property
    def goodput(self) -> float:
        """Good answers that came, a second."""
        return self.in_time / self.seconds


class _Connection(asyncio.Protocol):
    """One kept connection, which has at most one request on its way."""

    def __init__(self, done: Callable[["_Connection", int, bytes], None]) -> None:
        self._done = done
        self._got = b""
        self.due = 0.0
        self.busy = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._got = got = self._got + data if self._got else data
        end = got.find(b"\r\n\r\n")
        if end < 0:
            return
        start = got.find(b"content-length: ") + len(b"content-length: ")
        if len(got) >= end + 4 + int(got[start : got.index(b"\r", start)]):
            self._got = b""
            self._over(int(got[9:12]), got)

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        if self.busy:
            self._over(0, b"")

    def _over(self, status: int, answer: bytes) -> None:
        self.busy = False
        self._done(self, status, answer)


class Load:
    """Sends one request over and over, at random moments of a given mean rate."""

    def __init__(self, host: str, port: int, request: bytes, connections: int) -> None:
        self._where = host, port
        self._request = request
        self._most = connections
        self._free: list[_Connection] = []
        self._seen = Seen(0.0)
        self._since = 0.0  # what was due before is not counted

    async def offer(self, rate: float, seconds: float, warm_up: float, seed: int = 0) -> Seen:
        """Send ``rate`` requests a second; count those due after the warm-up."""
        random = np.random.default_rng(seed)
        count = int(rate * (warm_up + seconds))
        due = np.sort(random.uniform(0, warm_up + seconds, count))
        seen = self._seen = Seen(seconds)
        clock = time.perf_counter
        start = clock()
        self._since = start + warm_up
        live = asyncio.create_task(self._ask_whether_alive())
        await self._send(start + due, start + warm_up + seconds, clock)
        live.cancel()
        end = clock() + REST
        while len(self._free) < self._most and clock() < end:  # noqa: ASYNC110  once, at the end
            await asyncio.sleep(TICK)
        asked = int((due >= warm_up).sum())
        seen.failed = asked - len(seen.answered) - len(seen.refused)
        return seen

    async def capacity(self, seconds: float, at_once: int = 64) -> float:
        """Return the good answers a second that so many clients get who wait for each."""
        self._since = time.perf_counter()
        seen = self._seen = Seen(seconds)
        end = self._since + seconds
        clients = [self._free.pop() for _ in range(at_once)]
        rest, self._free = self._free, []
        for client in clients:
            self._leave(client, self._since, self._since)
        while time.perf_counter() < end:
            while self._free:
                now = time.perf_counter()
                self._leave(self._free.pop(), now, now)
            await asyncio.sleep(TICK)
        found = seen.goodput
        while len(self._free) < at_once:  # noqa: ASYNC110  once, at the end
            await asyncio.sleep(TICK)
        self._free += rest
        return found

    async def connect(self) -> None:
        """Open every connection before anything is measured."""
        loop = asyncio.get_running_loop()
        for _ in range(self._most):
            _, made = await loop.create_connection(lambda: _Connection(self._done), *self._where)
            self._free.append(made)

    async def _send(self, due: NDArray[np.float64], end: float, clock: Callable[[], float]) -> None:
        place = 0
        while (now := clock()) < end:
            while place < len(due) and due[place] <= now and self._free:
                connection = self._free.pop()
                if connection.transport is None:
                    continue
                self._leave(connection, float(due[place]), now)
                place += 1
            await asyncio.sleep(TICK)

    def _leave(self, connection: _Connection, due: float, now: float) -> None:
        connection.busy, connection.due = True, due
        if connection.transport is not None:
            connection.transport.write(self._request)
        if due >= self._since:
            self._seen.sent += 1
            self._seen.lag.append(now - due)

    def _done(self, connection: _Connection, status: int, answer: bytes) -> None:
        self._free.append(connection)
        now, seen = time.perf_counter(), self._seen
        seen.all_answered += status == GOOD
        seen.in_time += status == GOOD and self._since <= now < self._since + seen.seconds
        if connection.due < self._since:
            return
        spent = now - connection.due
        if status == GOOD:
            seen.answered.append(spent)
        elif status == BUSY:
            seen.refused.append(spent)
            seen.without_retry_after += b"retry-after: " not in answer
        else:
            seen.failed += 1

    async def _ask_whether_alive(self) -> None:
        """Ask on a connection of its own, as an orchestrator does."""
        reader, writer = await asyncio.open_connection(*self._where)
        due = time.perf_counter()
        while True:
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b'{"status":"live"}')
            if due >= self._since:
                self._seen.live.append(time.perf_counter() - due)
            due = max(due + LIVENESS, time.perf_counter())
            await asyncio.sleep(due - time.perf_counter())
