"""Sessions: open, look, move and close. A route finds, asks, wraps."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.requests import HTTPConnection

from service.engine.core import Engine, LoadedModel
from service.http.body import Form, read
from service.http.deadline import deadline
from service.http.errors import InvalidRequest
from service.http.gate import VISITOR, Visitor
from service.http.limits import Limits
from service.http.prediction import routing_key
from service.http.presence import Presence
from service.http.routes import native
from service.http.routes.native import JSON, Name, Version, named_version
from service.http.schemas.sessions import (
    SessionOut,
    StateOut,
    describe,
    read_opening,
    read_state,
)
from service.http.schemas.steps import (
    StepOut,
    write,
)
from service.sessions.sessions import Sessions
from service.sessions.turns import Forecast, Session

Id = Annotated[str, Path(description="a session's id, as opening it returned")]
TENANT = "x-tenant"
_TENANT = re.compile("[A-Za-z0-9._-]{0,64}", re.ASCII)


def tenant_of(connection: HTTPConnection) -> str:
    """Return whose sessions are asked for; raise InvalidRequest, Forbidden."""
    given = connection.headers.getlist(TENANT)
    if len(given) > 1:
        raise InvalidRequest(TENANT, "expected one header, got several")
    tenant = given[0] if given else ""
    if not _TENANT.fullmatch(tenant):
        raise InvalidRequest(TENANT, "expected at most 64 of A-Z, a-z, 0-9, '.', '_' and '-'")
    visitor: Visitor | None = connection.scope.get(VISITOR)
    return tenant if visitor is None else visitor.grant.tenant_of(tenant if given else None)


async def _tenant(connection: HTTPConnection) -> str:
    return tenant_of(connection)  # FastAPI would run it in a thread if this were no coroutine


Tenant = Annotated[str, Depends(_tenant)]
PROBLEMS = native.PROBLEMS | dict.fromkeys((409, 410, 429), native.PROBLEMS[422])


def router(engine: Engine, sessions: Sessions, limits: Limits) -> APIRouter:
    """Return the routes of one engine's sessions."""
    routes = APIRouter(prefix="/v1", tags=["sessions"], responses=PROBLEMS)

    async def _open(request: Request, model: LoadedModel, tenant: str) -> Response:
        async with deadline(request, limits):
            form = Form((JSON,), lambda body: read_opening(body, model.card))
            opening = await read(request, limits, form)
            async with Presence(request.receive):
                if opening.token is not None:
                    session, answer = await sessions.adopt(model, tenant, opening.token), None
                else:
                    session, answer = await sessions.open(
                        model, tenant, opening.stream, opening.history
                    )
        record = session.record
        forecast = Forecast(session.stream, answer)
        body = write(record.id, record.step, forecast, model, opening.quantiles)
        return _created(session, body)

    @routes.post("/models/{name}/sessions", status_code=201, response_model=StepOut)
    async def open_session(request: Request, name: Name, tenant: Tenant) -> Response:
        """Open a session of the version that serves, which reads a history if there is one."""
        model = await engine.model(name, None, routing_key(request))
        return await _open(request, model, tenant)

    @routes.post(
        "/models/{name}/versions/{version}/sessions", status_code=201, response_model=StepOut
    )
    async def open_version(
        request: Request, name: Name, version: Version, tenant: Tenant
    ) -> Response:
        """Open a session of the version named."""
        return await _open(request, await named_version(engine, name, version), tenant)

    @routes.get("/sessions/{id}", response_model=SessionOut)
    async def look(id: Id, tenant: Tenant) -> Response:  # noqa: A002
        """Say where a session stands, and how good its forecasts were."""
        session, model = await sessions.look(tenant, id)
        return Response(describe(session, model.card), media_type=JSON)

    @routes.delete("/sessions/{id}", status_code=204)
    async def close(id: Id, tenant: Tenant) -> Response:  # noqa: A002
        """Close a session; its id is gone for ever."""
        await sessions.close(tenant, id)
        return Response(status_code=204)

    return routes


def state_router(sessions: Sessions, limits: Limits) -> APIRouter:
    """Return the routes by which states leave, come back, and multiply."""
    routes = APIRouter(prefix="/v1", tags=["sessions"], responses=PROBLEMS)

    @routes.get("/sessions/{id}/state")
    async def export(id: Id, tenant: Tenant) -> StateOut:  # noqa: A002
        """Export the state, signed, for ``PUT`` or for opening a session with it."""
        return StateOut(state=await sessions.export(tenant, id))

    @routes.put("/sessions/{id}/state", response_model=SessionOut)
    async def restore(request: Request, id: Id, tenant: Tenant) -> Response:  # noqa: A002
        """Put a session where an exported state says it stood; this takes a step's number."""
        async with deadline(request, limits):
            token = await read(request, limits, Form((JSON,), read_state))
            session, model = await sessions.restore(tenant, id, token)
        return Response(describe(session, model.card), media_type=JSON)

    @routes.post("/sessions/{id}/fork", status_code=201, response_model=SessionOut)
    async def fork(id: Id, tenant: Tenant) -> Response:  # noqa: A002
        """Open a session that goes on from where this one stands."""
        session, model = await sessions.fork(tenant, id)
        return _created(session, describe(session, model.card))

    return routes


def _created(session: Session, body: bytes) -> Response:
    headers = {"location": f"/v1/sessions/{session.record.id}"}
    return Response(body, 201, headers, JSON)
