"""Answers as the bytes that leave, where no framework writes them."""

from collections.abc import Mapping, Sequence

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.http.errors import RequestError
from service.http.journal.records import Visit, identify
from service.http.problems.table import MEDIA_TYPE, document, problem_of, reason

Headers = Sequence[tuple[bytes, bytes]]


def written(  # noqa: PLR0913, PLR0917  what an answer has
    status: int,
    every: bytes,
    request_id: str | None,
    body: bytes,
    media_type: str | None,
    headers: Mapping[str, str],
    *,
    close: bool,
) -> bytes:
    """Return an answer; ``every`` are the headers that all have, as lines."""
    named = "" if request_id is None else f"x-request-id: {request_id}\r\n"
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items()) if headers else ""
    last = "connection: close\r\n" if close else ""
    ours = f"content-length: {len(body)}\r\ncontent-type: {media_type}\r\n{named}{more}{last}\r\n"
    return b"".join((STATUS_LINE[status], every, ours.encode(), body))


def problem(error: Exception, request_id: str | None) -> tuple[int, bytes, str, dict[str, str]]:
    """Return status, body, media type and the other headers of an error that is in the table."""
    row, body = problem_of(error), orjson.dumps(document(error, request_id))
    headers = {name: value for name, value in row.headers.items() if name != "connection"}
    return row.status, body, MEDIA_TYPE, headers


def farewell(
    error: RequestError, method: str, url: bytes, headers: Headers, every: bytes
) -> tuple[bytes, Visit]:
    """Return the last answer of a connection, to what may be no request, and its record."""
    given = next((value for name, value in headers if name == b"x-request-id"), None)
    request_id = identify(None if given is None else given.decode("latin-1"))
    status, body, media_type, more = problem(error, request_id)
    path = url.partition(b"?")[0].decode("latin-1")
    visit = Visit(
        request_id, method, path, "none", status, 0.0, sent=len(body), reason=reason(error)
    )
    return written(status, every, request_id, body, media_type, more, close=True), visit


def refusal(
    error: Exception, request_id: str | None = None, every: bytes = b"", *, close: bool = True
) -> bytes:
    """Return an error as an answer: if no more is said, nobody's in particular and the last one."""
    status, body, media_type, more = problem(error, request_id)
    return written(status, every, request_id, body, media_type, more, close=close)


def lines(headers: Headers) -> bytes:
    """Return headers as they are written."""
    return b"".join(name + b": " + value + b"\r\n" for name, value in headers)
