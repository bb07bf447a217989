"""Stores of both kinds, each test's own: in a file, and in a server that is started for them."""

import uuid
from functools import partial

import pytest

from service.sessions.redis import RedisStore
from service.sessions.sqlite import SqliteStore
from tests.sessions.kept import Clock
from tests.sessions.server import RedisServer


@pytest.fixture(scope="session")
def redis_server():
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["sqlite", "redis"])
def new_place(request, tmp_path):
    """Return what makes a place for sessions, each of which opens a store whenever it is called."""
    if request.param == "sqlite":
        return lambda: partial(SqliteStore, tmp_path / uuid.uuid4().hex / "sessions.db")
    url = request.getfixturevalue("redis_server").url
    return lambda: partial(RedisStore, url, prefix=uuid.uuid4().hex)


@pytest.fixture
def place(new_place):
    return new_place()


@pytest.fixture
async def opened(place, clock):
    """Return what opens the test's place with its clock; all stores are closed at the end."""
    stores = []

    def open_one(**options):
        stores.append(place(**{"clock": clock} | options))
        return stores[-1]

    yield open_one
    for store in stores:
        await store.close()


@pytest.fixture
def store(opened):
    return opened()
