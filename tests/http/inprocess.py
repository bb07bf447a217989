"""A service in this process, asked over httpx: no socket, everything else real."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from asgi_lifespan import LifespanManager

from service.engine.core import Engine
from service.http.app import create_app
from service.http.journal.records import Tracing
from service.http.meters.metrics import Metrics
from service.sessions.store import Store
from service.settings import Settings

GRU, ATTENTION, STREAM = "co2-gru", "elnino-attention", "co2-stream-gru"
SMALL = Settings(
    provider="cpu",
    threads=1,
    profile_ms=0,
    max_body_bytes=200_000,
    max_sequences=64,
    max_waiting=64,
)


@dataclass
class Service:
    """What a test may look at, and the client that asks."""

    engine: Engine
    client: httpx.AsyncClient
    app: Any  # as ASGI, for a client that behaves worse than httpx

    async def predict(self, body: object, model: str = GRU, **options: Any) -> httpx.Response:
        return await self.client.post(f"/v1/models/{model}/predict", json=body, **options)


@asynccontextmanager
async def running(
    settings: Settings = SMALL, store: Store | None = None, tracing: Tracing | None = None
) -> AsyncIterator[Service]:
    """Yield a service; without a store it has no sessions."""
    metrics = Metrics()
    observers = metrics.observer if tracing is None else tracing.beside(metrics.observer)
    engine = Engine(settings.repository(), settings.engine_options(), observers, metrics.shadows)
    async with LifespanManager(create_app(engine, settings, metrics, store, tracing)) as manager:
        transport = httpx.ASGITransport(manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Service(engine, client, manager.app)


def weeks(length: int, start: float = 340.0) -> list[float]:
    """Return a series that co2-gru may read."""
    return [round(start + 0.03 * step + (step * 7 % 13) / 5, 2) for step in range(length)]
