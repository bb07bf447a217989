"""
One who asks an application as ASGI has it, past every client that would tidy up a path.

There is no engine: who may ask is decided before there is anything to answer.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

from fastapi import APIRouter, FastAPI

from service.engine.core import Engine
from service.http.app import create_app
from service.http.meters.metrics import Metrics
from service.sessions.location import open_store
from service.sessions.store import Limits
from tests.http.inprocess import SMALL

FORGOTTEN = "/v1/models/{name}/forgotten"  # a route that is in no table


@dataclass
class Answer:
    """What the application sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self):
        return json.loads(self.body)


class Asker:
    """One who asks an application."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def ask(self, method, path, *headers: tuple[str, str], key=None, body="") -> Answer:
        """Return the answer to a request, or to an upgrade if the method is WEBSOCKET."""
        path, _, query = path.partition("?")
        given = [*headers, *([("x-api-key", key)] if key else [])]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "scheme": "http",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
            "state": {},
        }
        if method == "WEBSOCKET":
            scope |= {"type": "websocket", "subprotocols": []}
            scope |= {"extensions": {"websocket.http.response": {}}}
            del scope["method"]
        if body:
            scope["headers"].append((b"content-type", b"application/json"))
        return asyncio.run(self._ask(scope, body.encode()))

    async def _ask(self, scope, body) -> Answer:
        told = Answer()
        coming = [{"type": "http.request", "body": body, "more_body": False}]
        if scope["type"] == "websocket":
            coming = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]

        async def receive():
            return coming.pop(0) if coming else await asyncio.Event().wait()

        async def send(message):
            if message["type"].endswith("response.start"):
                told.status = message["status"]
                for name, value in message["headers"]:
                    told.headers[name.decode()] = value.decode()
            told.body += message.get("body", b"")

        await asyncio.wait_for(self.app(scope, receive, send), 10)
        return told


@contextmanager
def asking(folder, gate) -> Iterator[Asker]:
    """Yield who asks an application behind a gate, with a route that somebody added late."""
    metrics = Metrics()
    settings = SMALL.model_copy(update={"states": folder / "states"})  # an administrator asks, too
    engine = Engine(settings.repository(), settings.engine_options(), metrics.observer)
    limits = Limits(10, 10**8, 10, 10**8)
    store = open_store(f"sqlite:///{folder}/sessions.db", limits=limits, durability="process")
    app = create_app(engine, settings, metrics, store, gate=gate)
    late = APIRouter(tags=["late"])

    @late.get(FORGOTTEN)
    async def forgotten(name: str) -> str:
        return name

    app.include_router(late)
    try:
        yield Asker(app)
    finally:
        asyncio.run(store.close())
