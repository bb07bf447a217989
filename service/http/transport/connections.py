"""
The connections of one process: how many there may be, and how long each may keep it waiting.

It knows no protocol and reads no bytes: a connection says for what it waits, and is told when it
has waited too long, or when it must give way to another.
"""

import asyncio
from collections.abc import Sized
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Protocol

TICK = 0.1  # seconds between two looks at who is overdue
AT_ONCE = 100  # of them; the others wait for the next turn of the loop, as requests do
LINGER = 2.0  # seconds that a client who was refused may go on sending before it is cut off


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a connection may send before it is read, and how long it may take."""

    max_uri_bytes: int = 8_192
    max_header_bytes: int = 32_768
    max_headers: int = 100
    max_chunks: int = 65_536
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 5.0
    max_connections: int = 10_000


class Waiting(Protocol):
    """A connection, as seen from here."""

    def overdue(self) -> None:
        """Hear that it has waited too long; it must leave its line, or go to the end."""

    def give_way(self) -> None:
        """End, for another needs the place."""


class Line:
    """Connections that wait for the same, in the order in which they began to."""

    __slots__ = ("seconds", "since")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.since: dict[Waiting, float] = {}

    def overdue(self, now: float) -> Waiting | None:
        """Return who has waited longest if that is too long."""
        for who, since in self.since.items():
            return who if now - since >= self.seconds else None
        return None

    def front(self) -> list[tuple[Waiting, float]]:
        """Return who has waited longest, and since when, if there is anybody."""
        return list(islice(self.since.items(), 1))


class Connections:
    """
    Every connection that waits, in one line for each thing that may be waited for.

    One timer serves them all.  In a line everybody may wait equally long, so who is overdue
    stands at its head, and joining and leaving cost a dictionary's entry each.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.idle = Line(bounds.idle_seconds)  # between two requests
        self.heads = Line(bounds.head_seconds)  # for the first line and the headers
        self.bodies = Line(bounds.body_seconds)
        self.unread = Line(bounds.body_seconds)  # for the client to read its answer
        self.lingering = Line(LINGER)  # for a client who was refused to end
        self._lines = self.idle, self.heads, self.bodies, self.unread, self.lingering
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, others: Sized) -> bool:
        """
        Return whether there is room for one more beside the others that are open.

        If there is none, who has waited longest for a request gives way.
        """
        if self._timer is None:
            self._look_again(TICK, others)
        if len(others) < self.bounds.max_connections:
            return True
        # The loop's clock may know milliseconds only: of equals, who has had an answer stays.
        lines = [self.lingering] if self.lingering.since else [self.heads, self.idle]
        fronts = [(since, who) for line in lines for who, since in line.front()]
        if not fronts:
            return False
        min(fronts, key=itemgetter(0))[1].give_way()
        return True

    def _look_again(self, delay: float, others: Sized) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay, self._look, loop, others)

    def _look(self, loop: asyncio.AbstractEventLoop, others: Sized) -> None:
        """Tell who is overdue, but not all at once: good clients are served in between."""
        self._timer = None
        now, left = loop.time(), AT_ONCE
        for line in self._lines:
            while left and (overdue := line.overdue(now)):
                overdue.overdue()
                left -= 1
        if others:
            self._look_again(TICK if left else 0.0, others)
