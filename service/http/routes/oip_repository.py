"""The repository extension of the Open Inference Protocol: the index."""

from fastapi import APIRouter, Request

from service.engine.core import Engine
from service.http.body import read_bytes
from service.http.deadline import deadline
from service.http.limits import Limits
from service.http.routes.native import PROBLEMS
from service.http.schemas.document import parse
from service.http.schemas.native import Wire, validated
from service.http.schemas.oip import BINARY
from service.http.schemas.oip_repository import IndexEntry, IndexRequest, body_of, index

# tritonclient declares no type, and its asyncio form octet-stream, of what is JSON.
_ACCEPTED = ("application/json", BINARY, "")


def router(engine: Engine, limits: Limits) -> APIRouter:
    """Return the routes of one engine."""
    routes = APIRouter(
        prefix="/v2/repository", tags=["open inference protocol"], responses=PROBLEMS
    )

    @routes.post("/index", openapi_extra=body_of(IndexRequest))
    async def list_versions(request: Request) -> list[IndexEntry]:
        """List every version of every model, whether it serves, and if not, why."""
        asked = await _read(request, limits, IndexRequest)
        return index(engine, ready=asked.ready)

    return routes


async def _read(request: Request, limits: Limits, wire: type[Wire]) -> Wire:
    async with deadline(request, limits):
        body = await read_bytes(request, limits.max_body_bytes, _ACCEPTED)
    return validated(wire, parse(body) if body else {})
