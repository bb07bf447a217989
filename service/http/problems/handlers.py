"""Have the framework answer as the table of problems says, in the place of its own answers."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service.http.errors import InvalidRequest
from service.http.methods import refined
from service.http.problems.table import TABLE, Problem, answer, problem_response, reason

_TITLES = {
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Wrong method"),
    426: ("upgrade-required", "A WebSocket is expected"),
}


def install(app: FastAPI) -> None:
    """Answer every error of the table, and the framework's own, with problem+json."""
    for kind in TABLE:
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(HTTPException, _answer_framework)
    app.add_exception_handler(RequestValidationError, _answer_framework)


async def _answer(request: Request, exc: Exception) -> Response:
    request.scope["problem"] = reason(exc)
    return answer(exc, request.scope.get("request_id"))


async def _answer_framework(request: Request, exc: Exception) -> Response:
    request_id = request.scope.get("request_id")
    if isinstance(exc, HTTPException):
        exc = refined(exc, request.scope, request.app.routes)
        kind, title = _TITLES.get(exc.status_code, ("http-error", "The request was refused"))
        problem = Problem(exc.status_code, kind, title, exc.headers or {})
        request.scope["problem"] = kind
        return problem_response(problem, str(exc.detail), request_id)
    request.scope["problem"] = TABLE[InvalidRequest].type
    # FastAPI's own answer would echo the input.
    return problem_response(TABLE[InvalidRequest], "The request does not fit.", request_id)
