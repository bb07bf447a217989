"""The event loop asks no disk for the models, the states or the keys, whatever is asked of it."""

import fcntl
import os
import sys
import threading
from asyncio import create_task, to_thread
from pathlib import Path
from typing import Self

import pytest
from asgi_lifespan import LifespanManager
from httpx import ASGITransport, AsyncClient

from models.repository import Repository
from service.engine.core import Engine
from service.http.access.gate import Gate
from service.http.app import create_app
from service.http.meters.metrics import Metrics
from service.keys.ring import Keyring
from service.keys.usage import Usage
from service.sessions.location import open_store
from tests.doubles import within
from tests.engine.test_core import publish
from tests.engine.test_lifecycle import until
from tests.http.access.test_gate import routes_of
from tests.http.inprocess import SMALL
from tests.http.inprocess import running as serving
from tests.keys.made import Keys

ASKED = {"sequences": [[1, 2, 100]]}
ROUTES = [
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/small", None),
    ("GET", "/v1/service", None),
    ("GET", "/health/ready", None),
    ("GET", "/metrics", None),
    ("GET", "/v1/admin/models", None),
    ("GET", "/v1/admin/models/small", None),
    ("GET", "/v2/models/small", None),
    ("GET", "/v2/models/small/stats", None),
    ("GET", "/v2/models/small/versions/1/stats", None),
    ("POST", "/v2/repository/index", {}),
    ("POST", "/v1/models/small/predict", ASKED),
    ("POST", "/v1/models/small/versions/1/predict", ASKED),
    ("POST", "/v1/models/small/sessions", {}),
    ("POST", "/v1/admin/models/small/unload", {"version": 1}),
    ("POST", "/v1/admin/models/small/load", {"version": 1}),
    ("PUT", "/v1/admin/models/small/aliases/stable", {"version": 1}),
    ("DELETE", "/v1/admin/models/small/aliases/stable", None),
    ("POST", "/v1/admin/models/small/rollback", None),
    ("POST", "/v2/repository/models/small/load", {}),
]


class Touched:
    """What the thread that made it does with files under a folder, while its block lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._thread = threading.get_ident()
        self._on = False
        self.calls: list[str] = []
        sys.addaudithook(self._hear)  # for good: it hears nothing once it is off

    def __enter__(self) -> Self:
        self._on = True
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False

    def note(self, event, path) -> None:
        if self._on and threading.get_ident() == self._thread:
            text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
            if text.startswith(self._folder):
                self.calls.append(f"{event} {text}")

    def _hear(self, event, arguments) -> None:
        if not self._on or threading.get_ident() != self._thread:
            return
        if event in {"open", "os.listdir", "os.scandir"}:
            self.note(event, arguments[0])
        elif event == "fcntl.flock" and not arguments[1] & (fcntl.LOCK_NB | fcntl.LOCK_UN):
            self.calls.append(event)


@pytest.fixture
def touched(tmp_path, monkeypatch) -> Touched:
    """Return one who hears of stat, too, of which Python tells no hook."""
    found = Touched(tmp_path)

    def heard(name):
        real = getattr(os, name)

        def call(path, *arguments, **options):
            found.note(name, path)
            return real(path, *arguments, **options)

        return call

    for name in ("stat", "lstat"):
        monkeypatch.setattr(os, name, heard(name))
    return found


async def test_a_repository_that_hangs_leaves_threads_for_all_else(tmp_path, monkeypatch):
    repository, answers, asked = Repository(tmp_path / "models"), threading.Event(), []
    publish(repository)

    def hang(_, name):
        asked.append(name)
        answers.wait(10)
        return []

    async with serving(
        SMALL.model_copy(update={"models": repository.root, "watch_s": 0})
    ) as service:
        monkeypatch.setattr(Repository, "versions", hang)
        path = "/v1/models/small/versions/9/predict"
        hanging = [create_task(service.client.post(path, json=ASKED)) for _ in range(50)]
        try:
            await until(lambda: asked)
            assert await within(to_thread(len, asked)) == len(asked)
            assert (await within(service.predict(ASKED, "small"))).status_code == 200
        finally:
            answers.set()
        assert {(await each).status_code for each in hanging} == {404}


async def test_no_request_has_the_event_loop_ask_a_disk(tmp_path, touched):
    keys, repository = Keys(tmp_path), Repository(tmp_path / "models")
    publish(repository)
    publish(repository)
    key = keys.add("all", "--rate", "1000/s", scopes="predict sessions metrics admin")
    settings = SMALL.model_copy(update={"models": repository.root, "watch_s": 0.02})
    metrics, ring = Metrics(), Keyring(keys.path, Usage.open(tmp_path / "usage"))
    engine = Engine(repository, settings.engine_options(), metrics.observer)
    store = open_store(f"sqlite:///{tmp_path}/sessions.db")
    app = create_app(engine, settings, metrics, store, gate=Gate(ring))
    async with LifespanManager(app) as manager:
        asking = AsyncClient(
            transport=ASGITransport(manager.app), base_url="http://test", headers={"x-api-key": key}
        )
        async with asking as client:
            with touched:
                statuses = {
                    path: (await client.request(method, path, json=body)).status_code
                    for method, path, body in ROUTES
                }
                for method, template in routes_of(app):
                    if method != "WEBSOCKET":
                        path = template.replace("{name}", "small").replace("{version}", "1")
                        await client.request(method, path, json={})
                assert touched.calls == []
                repository.versions("small")
                assert touched.calls  # as heard of as if a request did it
    assert set(statuses.values()) == {200, 201}, statuses
