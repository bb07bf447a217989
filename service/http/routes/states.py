"""The states of sessions: how they leave, come back, and multiply."""

from fastapi import APIRouter, Request, Response

from service.http.request.body import Form, read
from service.http.request.deadline import deadline
from service.http.request.limits import Limits
from service.http.routes.sessions import PROBLEMS, Id, created
from service.http.routes.tenants import Tenant
from service.http.schemas.reply import JSON
from service.http.schemas.sessions import SessionOut, StateOut, describe, read_state
from service.sessions.sessions import Sessions


def router(sessions: Sessions, limits: Limits) -> APIRouter:
    """Return the routes of the sessions' states."""
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
        return created(session, describe(session, model.card))

    return routes
