"""What a path may be asked: HEAD where it may be asked GET, and what to say to any other method."""

from collections.abc import Iterable, Sequence

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class HeadAsGet:
    """ASGI middleware: answer a HEAD as the GET would be, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send_head)
        finally:
            scope.update({**as_get, "method": "HEAD"})  # what was left there is for outer layers


def refined(exc: HTTPException, scope: Scope, routes: Iterable[BaseRoute]) -> HTTPException:
    """
    Return what to say where the framework found no route.

    It names the methods of the first route of a path, and there may be others; and it does not
    find a WebSocket at all.  A path is told by its template, never as it came.
    """
    routes = list(routes)
    if exc.status_code == 405:  # noqa: PLR2004
        allowed = [each for each in _METHODS if _leads({**scope, "method": each}, routes)]
        return _wrong_method(scope, [*allowed, *(["HEAD"] if "GET" in allowed else [])])
    if exc.status_code == 404 and "endpoint" not in scope:  # noqa: PLR2004
        if not _leads({**scope, "type": "websocket"}, routes):
            return HTTPException(404, _nowhere(scope, routes))
        if scope["method"] != "GET":
            return _wrong_method(scope, ["GET"])
        headers = {"upgrade": "websocket", "connection": "upgrade"}
        return HTTPException(426, "Ask for an upgrade to a WebSocket.", headers)
    return exc


def _nowhere(scope: Scope, routes: Iterable[BaseRoute]) -> str:
    shorter = {**scope, "path": scope["path"].rstrip("/")}
    if scope["path"].endswith("/") and _leads(shorter, routes):
        return "No route leads to this path; without the slash at its end, one does."
    return "No route leads to this path; /docs and /openapi.json show which there are."


def _wrong_method(scope: Scope, allowed: Sequence[str]) -> HTTPException:
    path = getattr(scope.get("route"), "path", "This path")
    told = f"{path} takes {' or '.join(allowed)}, not {scope['method']}."
    return HTTPException(405, told, {"allow": ", ".join(allowed)})


def _leads(scope: Scope, routes: Iterable[BaseRoute]) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in routes)
