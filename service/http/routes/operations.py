"""Health and metrics: what an orchestrator and Prometheus ask."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from service.engine.core import Engine
from service.http.meters.metrics import Metrics
from service.sessions.store import Store


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """Whether predictions would be served, and where they run."""

    status: Literal["ready", "not ready"]
    provider: Literal["cpu", "cuda"] | None
    reason: str  # why this provider
    models: list[str]
    store: bool | None  # whether the sessions' store answers; None where there are no sessions


def tell_readiness(response: Response, *, ready: bool) -> None:
    """Answer 200, or 503 with when to ask again."""
    if not ready:
        response.status_code = 503
        response.headers["retry-after"] = "1"


def router(engine: Engine, metrics: Metrics, store: Store | None) -> APIRouter:
    """Return the routes of one engine and the store of its sessions."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/health/live")
    async def live() -> Live:
        """Answer as long as the process does."""
        return Live()

    @routes.get("/health/ready", responses={503: {"model": Ready}})
    async def ready(response: Response) -> Ready:
        """Answer 200 when predictions are served, 503 while they are not."""
        stored = store is None or await store.ready()
        serves = engine.ready and stored
        tell_readiness(response, ready=serves)
        device = engine.device
        return Ready(
            status="ready" if serves else "not ready",
            provider=device.provider if device else None,
            reason=device.reason if device else "not started",
            models=[name for name in engine.names() if engine.newest(name)],
            store=stored if store is not None else None,
        )

    @routes.get("/metrics", include_in_schema=False)
    async def prometheus() -> Response:
        metrics.flush()
        if store is not None:
            await metrics.store.look(store)
        text = await asyncio.to_thread(metrics.render)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
