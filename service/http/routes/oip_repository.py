"""The repository extension of the Open Inference Protocol: index, load, unload."""

from fastapi import APIRouter, Request

from service.engine.core import Engine
from service.http.request.body import read_bytes
from service.http.request.deadline import deadline
from service.http.request.limits import Limits
from service.http.routes.named import Name
from service.http.routes.refusals import PROBLEMS
from service.http.schemas.document import parse
from service.http.schemas.oip import BINARY
from service.http.schemas.oip_repository import (
    IndexEntry,
    IndexRequest,
    LoadRequest,
    UnloadRequest,
    index,
    versions,
)
from service.http.schemas.reply import JSON
from service.http.schemas.wire import Wire, body_of, validated

# tritonclient declares no type, and its asyncio form octet-stream, of what is JSON.
_ACCEPTED = (JSON, BINARY, "")


def router(engine: Engine, limits: Limits) -> APIRouter:
    """Return the routes of one engine."""
    routes = APIRouter(
        prefix="/v2/repository",
        tags=["open inference protocol"],
        responses=PROBLEMS | {409: PROBLEMS[422]},
    )

    limits = limits.of_orders()

    @routes.post("/index", openapi_extra=body_of(IndexRequest))
    async def list_versions(request: Request) -> list[IndexEntry]:
        """List every version of every model, whether it serves, and if not, why."""
        asked = await _read(request, limits, IndexRequest)
        return index(engine, ready=asked.ready)

    @routes.post("/models/{name}/load", openapi_extra=body_of(LoadRequest))
    async def load(name: Name, request: Request) -> list[IndexEntry]:
        """Let a model answer, here and in every process; then list its versions."""
        asked = await _read(request, limits, LoadRequest)
        await engine.changes.load(name, asked.parameters.version)
        return versions(engine, name)

    @routes.post("/models/{name}/unload", openapi_extra=body_of(UnloadRequest))
    async def unload(name: Name, request: Request) -> list[IndexEntry]:
        """Let a model answer nobody; what it was asked before is answered still."""
        asked = await _read(request, limits, UnloadRequest)
        await engine.changes.unload(name, asked.parameters.version)
        return versions(engine, name)

    return routes


async def _read(request: Request, limits: Limits, wire: type[Wire]) -> Wire:
    async with deadline(request, limits):
        body = await read_bytes(request, limits, _ACCEPTED)
    return validated(wire, parse(body) if body else {})
