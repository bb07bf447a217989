"""Read a body within its limits; knows nothing of what is in it."""

from fastapi import Request
from starlette.requests import ClientDisconnect

from service.http.errors import BodyTooLarge, ClientGone, UnsupportedMediaType


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body; raise UnsupportedMediaType, BodyTooLarge or ClientGone."""
    _check_headers(request, limit)
    try:
        return await _read(request, limit)
    except ClientDisconnect:
        raise ClientGone("The client left while it sent its request.") from None


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
