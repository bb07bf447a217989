"""Steps over one WebSocket: the numbers and errors of HTTP, without a request for each."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from service.engine.catalogue import MAIN
from service.engine.core import Engine
from service.engine.errors import EngineError
from service.engine.jobs import ORIGIN, SPENT, Spent
from service.http.access.gate import VISITOR
from service.http.errors import InvalidRequest
from service.http.journal.records import Records, Visit, identify
from service.http.problems.denial import deny
from service.http.request.limits import Limits
from service.http.routes.messages import together
from service.http.routes.named import Name
from service.http.routes.talk import Talk
from service.http.routes.tenants import tenant_of
from service.keys.errors import AccessError
from service.sessions.sessions import Sessions

ROUTE, SWITCHED = "/v1/models/{name}/stream", 101


def router(engine: Engine, sessions: Sessions, limits: Limits, records: Records) -> APIRouter:
    """Return the route of the streams of an engine's sessions."""
    routes = APIRouter(prefix="/v1", tags=["sessions"])

    @routes.websocket("/models/{name}/stream")
    async def stream(socket: WebSocket, name: Name) -> None:
        """
        Answer each message, which is a step with its session and number, in the order sent.

        What came while the last messages were answered is answered together.
        """
        request_id = identify(socket.headers.get("x-request-id"))
        try:
            tenant, visitor = tenant_of(socket), socket.scope.get(VISITOR)
            talk = Talk(sessions, limits, name, tenant, visitor, request_id)
            await engine.model(name, MAIN)
        except (EngineError, InvalidRequest, AccessError) as exc:
            await deny(socket, exc, records, request_id)
            return
        await socket.accept(headers=[(b"x-request-id", request_id.encode())])
        began, spent = time.perf_counter(), Spent()
        SPENT.set(spent)
        try:
            async for messages in together(socket):
                with _traced(records, socket, request_id):
                    answers = await talk.answers(messages)
                for said in answers:
                    await socket.send_text(said.decode())
        except WebSocketDisconnect:  # while it was answered: what was taken is stored
            pass
        finally:
            seconds = time.perf_counter() - began
            visit = Visit(request_id, "GET", socket.url.path, ROUTE, SWITCHED, seconds)
            caller = socket.scope.get("caller")
            records.add(visit._replace(caller=caller, spent=spent.timing))

    return routes


@contextmanager
def _traced(records: Records, socket: WebSocket, request_id: str) -> Iterator[None]:
    """Trace messages that are answered together, as if they were a request."""
    began, origin = time.perf_counter(), records.begin("GET", socket.scope["headers"])
    carried = ORIGIN.set(origin)
    try:
        yield
    finally:
        ORIGIN.reset(carried)
        path, seconds = socket.url.path, time.perf_counter() - began
        records.end(Visit(request_id, "GET", path, ROUTE, SWITCHED, seconds, origin=origin))
