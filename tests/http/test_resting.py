"""Who was refused takes turns with others who were, if they are so many that they cost too much."""

import asyncio

from prometheus_client import CollectorRegistry

from service.http.meters.requests import RequestMeter
from service.http.transport.shedding import AT_MOST, TURN, Shedding


class Heard:
    """A connection, its transport and its flow; it says whether it is read."""

    def __init__(self):
        self.read, self.gone = True, False
        self.transport = self.flow = self

    def pause_reading(self):
        self.read = False

    def resume_reading(self):
        assert not self.gone
        self.read = True

    def is_closing(self):
        return self.gone


async def test_a_few_who_are_refused_are_heard_again_at_once():
    shedding = Shedding(RequestMeter(CollectorRegistry()))
    clients = [Heard() for _ in range(int(AT_MOST * TURN))]
    for client in clients:
        shedding.rest(client)
    assert all(client.read for client in clients)


async def test_too_many_rest_in_the_order_they_came_and_all_are_heard_in_the_end():
    shedding = Shedding(RequestMeter(CollectorRegistry()))
    a_turn = int(AT_MOST * TURN)
    clients = [Heard() for _ in range(3 * a_turn)]
    for client in clients:
        shedding.rest(client)
    left = clients.pop()
    left.gone = True  # and nobody may read from it
    assert [client.read for client in clients] == [True] * a_turn + [False] * (2 * a_turn - 1)
    seen = set()
    async with asyncio.timeout(10):
        while not all(client.read for client in clients):
            await asyncio.sleep(TURN / 10)
            seen.add(sum(client.read for client in clients))
    assert seen <= {a_turn, 2 * a_turn, 3 * a_turn - 1}
