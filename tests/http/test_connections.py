"""Who waits too long and who gives way, on a loop of its own and with connections that are none."""

import asyncio
from itertools import pairwise

import pytest

from service.http.transport.connections import AT_ONCE, Bounds, Connections, Line

pytestmark = pytest.mark.timeout(20)


class Client:
    """Something that waits."""

    def __init__(self, ended: list["Client"], open_: set["Client"]) -> None:
        self._ended, self._open = ended, open_
        self.line: Line | None = None

    def wait(self, line: Line) -> None:
        self.line = line
        line.since[self] = asyncio.get_running_loop().time()

    def overdue(self) -> None:
        self._end()

    def give_way(self) -> None:
        self._end()

    def _end(self) -> None:
        del self.line.since[self]
        self._open.discard(self)
        self._ended.append(self)


class House:
    """A register, and who is in it."""

    def __init__(self, **bounds: float) -> None:
        self.register = Connections(Bounds(**bounds))
        self.ended: list[Client] = []
        self.open: set[Client] = set()

    def enter(self, line: Line | None) -> Client | None:
        """Return who came in, and waits there; None if there was no room."""
        if not self.register.admit(self.open):
            return None
        client = Client(self.ended, self.open)
        self.open.add(client)
        if line is not None:
            client.wait(line)
        return client


async def test_who_waits_too_long_hears_so_and_nobody_else():
    house = House(head_seconds=0.05, body_seconds=30.0)
    late = [house.enter(house.register.heads) for _ in range(3)]
    patient = house.enter(house.register.bodies)
    async with asyncio.timeout(5):
        while len(house.ended) < 3:  # noqa: ASYNC110  time makes it true
            await asyncio.sleep(0.01)
    assert house.ended == late
    assert house.open == {patient}


async def test_of_a_crowd_only_some_hear_it_in_one_turn_of_the_loop():
    house = House(head_seconds=0.05)
    for _ in range(3 * AT_ONCE):
        house.enter(house.register.heads)
    seen = []
    async with asyncio.timeout(5):
        while house.open:
            await asyncio.sleep(0)
            seen.append(len(house.ended))
    steps = [later - earlier for earlier, later in pairwise(seen)]
    assert max(steps) == AT_ONCE


async def test_who_has_waited_longest_for_a_request_gives_way():
    house = House(max_connections=3)
    first = house.enter(house.register.idle)
    second = house.enter(house.register.heads)
    busy = house.enter(None)
    third = house.enter(house.register.heads)
    assert house.ended == [first]
    house.enter(house.register.idle)
    assert house.ended == [first, second]
    assert {busy, third} < house.open


async def test_of_two_who_came_at_the_same_time_of_the_clock_who_had_an_answer_stays():
    house = House(max_connections=2)
    answered = house.enter(house.register.idle)
    half_open = house.enter(house.register.heads)
    house.register.heads.since[half_open] = house.register.idle.since[answered]
    house.enter(None)
    assert house.ended == [half_open]


async def test_who_was_refused_gives_way_before_anybody():
    house = House(max_connections=2)
    house.enter(house.register.idle)
    refused = house.enter(house.register.lingering)
    assert house.enter(None)
    assert house.ended == [refused]


async def test_who_works_gives_way_to_nobody():
    house = House(max_connections=2)
    house.enter(None)
    house.enter(house.register.bodies)
    assert house.enter(house.register.heads) is None
    assert not house.ended
