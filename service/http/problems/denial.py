"""An upgrade to a WebSocket that is refused: answered by a problem, counted and logged like one."""

import time

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from service.http.journal.records import Records, Visit, identify
from service.http.problems.table import Problem, answer, problem_response, reason

NOWHERE = Problem(404, "not-found", "Not found")


async def deny(
    socket: WebSocket, exc: Exception, records: Records, request_id: str | None = None
) -> None:
    """Answer with the problem of an error that is in the table."""
    request_id = request_id or identify(socket.headers.get("x-request-id"))
    await _deny(socket, answer(exc, request_id), reason(exc), records, request_id)


def unless_websocket(otherwise: ASGIApp, records: Records) -> ASGIApp:
    """Return what answers where no route leads; an upgrade the framework would refuse bare."""

    async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await otherwise(scope, receive, send)
            return
        socket = WebSocket(scope, receive, send)
        request_id = identify(socket.headers.get("x-request-id"))
        response = problem_response(
            NOWHERE,
            "No WebSocket leads to this path; /v1/models/{name}/stream has one.",
            request_id,
        )
        await _deny(socket, response, NOWHERE.type, records, request_id)

    return nowhere


async def _deny(
    socket: WebSocket, response: Response, kind: str, records: Records, request_id: str
) -> None:
    began = time.perf_counter()
    response.headers["x-request-id"] = request_id
    await socket.send_denial_response(response)
    seconds, status = time.perf_counter() - began, response.status_code
    path, route = socket.scope["path"], getattr(socket.scope.get("route"), "path", "none")
    caller = socket.scope.get("caller")
    records.add(Visit(request_id, "GET", path, route, status, seconds, reason=kind, caller=caller))
