"""A URL says where sessions are kept."""

import subprocess
import sys

import pytest

from service.sessions.errors import UnusableStore
from service.sessions.location import open_store
from service.sessions.redis import RedisStore
from service.sessions.sqlite import SqliteStore
from service.sessions.store import Full, Limits, Stored
from tests.sessions.kept import Clock, creation

LIMITS = Limits(sessions=1)
OUTCOMES = [Stored(), Full(tenant=False)]


async def test_three_slashes_are_a_file_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///data/kept.db", limits=LIMITS, clock=Clock())
    monkeypatch.chdir("/")
    assert isinstance(store, SqliteStore)
    assert await store.write([creation("a"), creation("b")]) == OUTCOMES
    await store.close()
    assert (tmp_path / "data/kept.db").is_file()


async def test_four_slashes_are_a_file_anywhere(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/some %23 ?.db", durability="power")
    assert await store.ready()
    await store.close()
    assert (tmp_path / "some %23 ?.db").is_file()


async def test_a_servers_url_is_redis_own(redis_server):
    store = open_store(f"{redis_server.url}?db=3", limits=LIMITS, timeout=1.0, clock=Clock())
    assert isinstance(store, RedisStore)
    assert await store.write([creation("a"), creation("b")]) == OUTCOMES
    await store.close()


@pytest.mark.parametrize(
    "url", ["", "sessions.db", "sqlite:///", "sqlite://x.db", "mysql://h/d", "sqlite:x", "//[x"]
)
def test_what_names_no_store_is_refused(url):
    with pytest.raises(UnusableStore, match="begin with sqlite:///"):
        open_store(url)


def test_a_package_that_is_missing_is_named():
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from service.sessions.location import open_store\n"
        "open_store('redis://localhost')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert "pip install 'seqserve[redis]'" in result.stderr.splitlines()[-1]
