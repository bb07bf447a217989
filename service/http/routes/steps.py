"""Steps of sessions: one, or those of thousands in one request."""

import re
from collections.abc import Sequence

import orjson
from fastapi import APIRouter, Request, Response

from service.engine.catalogue import MAIN
from service.engine.core import Engine
from service.http.errors import InvalidRequest
from service.http.problems.table import document
from service.http.request.body import Form, read
from service.http.request.deadline import deadline
from service.http.request.limits import Limits
from service.http.request.presence import Presence
from service.http.routes.named import Name
from service.http.routes.sessions import PROBLEMS, Id
from service.http.routes.tenants import Tenant
from service.http.schemas.document import parse
from service.http.schemas.reply import JSON
from service.http.schemas.steps import NamedStep, StepOut, StepsOut, read_step, read_steps
from service.sessions.sessions import Sessions
from service.sessions.turns import Taken, Told

_NUMBER = re.compile("[1-9][0-9]{0,14}", re.ASCII)  # as many digits as JSON holds exactly
REPLAY = {"idempotent-replay": "true"}


def router(engine: Engine, sessions: Sessions, limits: Limits) -> APIRouter:
    """Return the routes by which an engine's sessions are stepped."""
    routes = APIRouter(prefix="/v1", tags=["sessions"], responses=PROBLEMS)

    @routes.post("/sessions/{id}/steps/{n}", response_model=StepOut)
    async def step(request: Request, id: Id, n: str, tenant: Tenant) -> Response:  # noqa: A002
        """Take step ``n``; the step taken last, sent again is answered byte for byte as it was."""
        async with deadline(request, limits):
            number = _number(n)
            form = Form((JSON,), lambda body: read_step(body, id, number))
            asked = await read(request, limits, form)
            async with Presence(request.receive):
                (told,) = await sessions.step(tenant, [asked])
        if not isinstance(told, Taken):
            raise told
        return Response(told.body, headers=REPLAY if told.replayed else None, media_type=JSON)

    @routes.post("/models/{name}/steps", response_model=StepsOut)
    async def steps(request: Request, name: Name, tenant: Tenant) -> Response:
        """Take steps of many sessions, each answered for itself, in the order sent."""
        await engine.model(name, MAIN)
        async with deadline(request, limits):
            form = Form((JSON,), lambda body: read_steps(parse(body), limits.max_steps))
            asked = await read(request, limits, form)
            async with Presence(request.receive):
                told = await sessions.step(tenant, asked, model=name)
        return Response(_all(asked, told, request), media_type=JSON)

    return routes


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise InvalidRequest("step", "expected a whole number from 1")
    return int(text)


def _all(asked: Sequence[NamedStep], told: Sequence[Told], request: Request) -> bytes:
    request_id = request.scope.get("request_id")
    items = [one(step, each, request_id) for step, each in zip(asked, told, strict=True)]
    return b'{"answers":[' + b",".join(items) + b"]}"


def one(step: NamedStep, told: Told, request_id: str | None) -> bytes:
    """Return what one of many steps is told: its answer as it is stored, or its problem."""
    if isinstance(told, Taken):
        replayed = b"true" if told.replayed else b"false"
        return b'{"status":200,"replayed":' + replayed + b',"answer":' + told.body + b"}"
    problem = document(told, request_id)
    item = {"status": problem["status"], "session": step.session, "step": step.number}
    return orjson.dumps(item | {"problem": problem})
