"""Sessions: open, look and close. A route finds, asks, wraps."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from service.engine.core import Engine, LoadedModel
from service.http.prediction import routing_key
from service.http.request.body import Form, read
from service.http.request.deadline import deadline
from service.http.request.limits import Limits
from service.http.request.presence import Presence
from service.http.routes import refusals
from service.http.routes.named import Name, Version, named_version
from service.http.routes.tenants import Tenant
from service.http.schemas.reply import JSON
from service.http.schemas.sessions import (
    SessionOut,
    describe,
    read_opening,
)
from service.http.schemas.steps import (
    StepOut,
    write,
)
from service.sessions.sessions import Sessions
from service.sessions.turns import Forecast, Session

Id = Annotated[str, Path(description="a session's id, as opening it returned")]
PROBLEMS = refusals.PROBLEMS | dict.fromkeys((409, 410, 429), refusals.PROBLEMS[422])


def router(engine: Engine, sessions: Sessions, limits: Limits) -> APIRouter:
    """Return the routes of one engine's sessions."""
    routes = APIRouter(prefix="/v1", tags=["sessions"], responses=PROBLEMS)

    @routes.post("/models/{name}/sessions", status_code=201, response_model=StepOut)
    async def open_session(request: Request, name: Name, tenant: Tenant) -> Response:
        """Open a session of the version that serves, which reads a history if there is one."""
        model = await engine.model(name, None, routing_key(request))
        return await _open(sessions, model, tenant, request, limits)

    @routes.post(
        "/models/{name}/versions/{version}/sessions", status_code=201, response_model=StepOut
    )
    async def open_version(
        request: Request, name: Name, version: Version, tenant: Tenant
    ) -> Response:
        """Open a session of the version named."""
        model = await named_version(engine, name, version)
        return await _open(sessions, model, tenant, request, limits)

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


async def _open(
    sessions: Sessions, model: LoadedModel, tenant: str, request: Request, limits: Limits
) -> Response:
    """Open a session as the body says, and answer with its first forecast, if there is one."""
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
    return created(session, body)


def created(session: Session, body: bytes) -> Response:
    """Answer 201, and where the session is."""
    headers = {"location": f"/v1/sessions/{session.record.id}"}
    return Response(body, 201, headers, JSON)
