"""Read a JSON body within its limits; knows nothing of what is in it."""

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect

from service.http.errors import BodyTooLarge, ClientGone, MalformedRequest, UnsupportedMediaType


async def read_json(request: Request, limit: int) -> object:
    """
    Return the parsed body.

    Raises UnsupportedMediaType, BodyTooLarge, MalformedRequest or ClientGone.
    """
    _check_headers(request, limit)
    try:
        body = await _read(request, limit)
    except ClientDisconnect:
        raise ClientGone("The client left while it sent its request.") from None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise MalformedRequest(f"The body is not JSON: {exc.msg} at byte {exc.pos}.") from None


def _check_headers(request: Request, limit: int) -> None:
    headers = request.headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("Send the body as application/json.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without a Content-Encoding.")
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise BodyTooLarge(limit)


async def _read(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(limit)
        chunks.append(chunk)
    return b"".join(chunks)
