"""Requests refused by their heads while a queue is full: nobody reads them, so it costs little."""

import asyncio
import logging
from collections import deque
from typing import Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from service.engine.errors import Overloaded
from service.http.journal.records import identify
from service.http.meters.requests import RequestMeter
from service.http.transport.answers import refusal
from service.http.transport.express import Head

SHEDDING = "shedding"  # where the lifespan's state holds who writes them
SAID = 1.0  # seconds between two lines of the log
# One costs some 15 microseconds, so that these leave nine tenths of a processor to those served.
AT_MOST = 5_000  # refusals a second after which a client is heard again at once
TURN = 0.01  # seconds between two looks at who rests

log = logging.getLogger(__name__)


class Client(Protocol):
    """The connection of somebody who was refused."""

    transport: asyncio.Transport
    flow: FlowControl


class Shed:
    """In the place of a cycle: a request that has its answer before its body has come."""

    response_complete = True
    keep_alive = True
    disconnected = False

    @property
    def message_event(self) -> "Shed":
        """What the protocol calls ``set`` of."""
        return self

    def set(self) -> None:
        """Hear of bytes that nobody wants."""


SHED = Shed()


class Shedding:
    """
    Write refusals that are mostly written already, and count them.

    Clients who ask again as soon as they are refused could keep a process from anything else: where
    there are too many, who was refused is not read from for a while, and all take turns.
    They have no line each in the log, which would cost more than they do: one a second says how
    many there were.
    """

    def __init__(self, meter: RequestMeter) -> None:
        self._meter = meter
        self._every = b""
        self._parts: dict[int, list[bytes]] = {}  # by the length of a request's id
        self._untold = 0
        self._left = self._share = int(AT_MOST * TURN)  # refusals in this turn
        self._resting: deque[Client] = deque()
        self._turning = False

    def rest(self, client: Client) -> None:
        """Let a client who was refused, and has sent all of its request, wait if it must."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_later(TURN, self._turn)
        self._left -= 1
        if self._left < 0:
            client.flow.pause_reading()
            self._resting.append(client)

    def refuse(self, head: Head, every: bytes) -> bytes:
        """Return the answer to a request, which is counted; ``every`` are the headers of all."""
        request_id = identify(head.request_id)
        if every is not self._every:
            self._every, self._parts = every, {}
        parts = self._parts.get(len(request_id))
        if parts is None:
            parts = self._parts[len(request_id)] = self._write("~" * len(request_id))
        self._count(head)
        return request_id.encode().join(parts)

    def _write(self, blank: str) -> list[bytes]:
        """Return what goes before, between and after the places of the id."""
        return refusal(Overloaded(), blank, self._every, close=False).split(blank.encode())

    def _count(self, head: Head) -> None:
        self._meter.refuse("overloaded")
        self._meter.count(head.route, "POST", 503)
        if not self._untold:
            asyncio.get_running_loop().call_later(SAID, self._tell)
        self._untold += 1

    def _turn(self) -> None:
        """Hear those again who have rested longest."""
        self._left = self._share
        for _ in range(min(self._share, len(self._resting))):
            client = self._resting.popleft()
            if not client.transport.is_closing():
                client.flow.resume_reading()
        self._turning = bool(self._resting)
        if self._turning:
            asyncio.get_running_loop().call_later(TURN, self._turn)

    def _tell(self) -> None:
        log.warning("The queue was full: %d requests were refused unread.", self._untold)
        self._untold = 0
