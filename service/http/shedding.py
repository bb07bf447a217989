"""Requests refused by their heads while a queue is full: nobody reads them, so it costs little."""

import asyncio
import logging

from service.engine.errors import Overloaded
from service.http.access import identify
from service.http.answers import problem, written
from service.http.express import Head
from service.http.meters.requests import RequestMeter

SHEDDING = "shedding"  # where the lifespan's state holds who writes them
SAID = 1.0  # seconds between two lines of the log

log = logging.getLogger(__name__)


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

    They have no line each in the log, which would cost more than they do: one a second says how
    many there were.
    """

    def __init__(self, meter: RequestMeter) -> None:
        self._meter = meter
        self._every = b""
        self._parts: dict[int, list[bytes]] = {}  # by the length of a request's id
        self._untold = 0

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
        status, body, media_type, more = problem(Overloaded(), blank)
        whole = written(status, self._every, blank, body, media_type, more, close=False)
        return whole.split(blank.encode())

    def _count(self, head: Head) -> None:
        self._meter.refuse("overloaded")
        self._meter.count(head.route, "POST", 503)
        if not self._untold:
            asyncio.get_running_loop().call_later(SAID, self._tell)
        self._untold += 1

    def _tell(self) -> None:
        log.warning("The queue was full: %d requests were refused unread.", self._untold)
        self._untold = 0
