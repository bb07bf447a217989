"""Clients who leave, over a real socket and on both ways: their places in the queue are free."""

import asyncio
import json
import statistics
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from uvicorn.config import Config
from uvicorn.lifespan.on import LifespanOn
from uvicorn.server import ServerState

from models.repository import Repository
from service.engine.core import Engine
from service.http.app import create_app
from service.http.meters.metrics import Metrics
from service.http.transport.connections import Bounds, Connections
from service.http.transport.protocol import Protocol
from service.keeper import Marks
from tests.http.inprocess import GRU, SMALL, weeks
from tests.http.transport_rows import request

PROMISED = 0.05  # seconds
BODY = json.dumps({"sequences": [weeks(30)]}).encode()
GOOD = request(b"Content-Length: %d\r\n" % len(BODY), body=BODY)
pytestmark = pytest.mark.timeout(30)


@dataclass
class Held:
    """A service whose batches wait at a gate."""

    port: int
    state: ServerState
    batcher: object
    gate: threading.Event
    entered: threading.Event
    sizes: list[int]

    async def ask(self) -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(GOOD)
        return writer


@pytest.fixture(params=[True, False], ids=["short", "long"])
async def held(request) -> AsyncIterator[Held]:
    settings = SMALL.model_copy(update={"inline_ms": 0, "express": request.param})
    metrics = Metrics()
    engine = Engine(Repository(settings.models), settings.engine_options(), metrics.observer)
    app = create_app(engine, settings, metrics)
    config = Config(app, lifespan="on", log_config=None, access_log=False)
    config.load()
    lifespan, state = LifespanOn(config), ServerState()
    register, marks = Connections(Bounds()), Marks()
    await lifespan.startup()
    batcher = engine.newest(GRU).batcher
    run, sizes = batcher._runner.run, []
    gate, entered = threading.Event(), threading.Event()

    class Gate:
        def run(self, rows):
            entered.set()
            assert gate.wait(20)
            sizes.append(len(rows))
            return run(rows)

    batcher._runner = Gate()
    server = await asyncio.get_running_loop().create_server(
        lambda: Protocol(config, state, lifespan.state, register, marks), "127.0.0.1", 0
    )
    try:
        port = server.sockets[0].getsockname()[1]
        yield Held(port, state, batcher, gate, entered, sizes)
    finally:
        gate.set()
        server.close()
        await lifespan.shutdown()


async def until(condition) -> float:
    """Return how long it took until a condition was true."""
    began = time.monotonic()
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  others make it true
            await asyncio.sleep(0.001)
    return time.monotonic() - began


async def test_who_leaves_the_queue_frees_a_place_at_once_and_costs_nothing(held):
    first = await held.ask()
    await until(held.entered.is_set)
    took = []
    for _ in range(5):
        leaver = await held.ask()
        await until(lambda: held.batcher.waiting == 1)
        leaver.close()
        took.append(await until(lambda: held.batcher.waiting == 0))
    assert statistics.median(took) < PROMISED
    held.gate.set()
    await until(lambda: held.sizes)
    first.close()
    await until(lambda: not held.state.connections)
    assert held.sizes == [1]


async def test_who_leaves_while_running_is_forgotten_and_nobody_else_notices(held):
    leaver = await held.ask()
    await until(held.entered.is_set)
    leaver.close()
    assert await until(lambda: not held.state.connections) < 1
    held.gate.set()
    await until(lambda: held.sizes)
    reader, writer = await asyncio.open_connection("127.0.0.1", held.port)
    writer.write(GOOD)
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()
    await until(lambda: not held.state.connections and not held.state.tasks)
    assert held.sizes == [1, 1]


async def test_half_a_body_and_the_end_never_reach_the_queue(held):
    _, writer = await asyncio.open_connection("127.0.0.1", held.port)
    writer.write(GOOD[:-10])
    await until(lambda: held.state.connections)
    writer.write_eof()
    await until(lambda: not held.state.connections and not held.state.tasks)
    writer.close()
    assert not held.entered.is_set()
    assert held.batcher.waiting == 0
