"""Read a body within its limits; knows nothing of what is in it."""

from collections.abc import Sequence

from fastapi import Request
from starlette.requests import ClientDisconnect

from service.http.errors import BodyTooLarge, ClientGone, UnsupportedMediaType


async def read_bytes(request: Request, limit: int, accepted: Sequence[str]) -> bytes:
    """
    Return the body as it came, if it is of an accepted media type; "" accepts none declared.

    Raises UnsupportedMediaType, BodyTooLarge or ClientGone.
    """
    _check_headers(request, limit, accepted)
    try:
        return await _read(request, limit)
    except ClientDisconnect:
        raise ClientGone("The client left while it sent its request.") from None


def media_type(content_type: str) -> str:
    """Return the media type of a Content-Type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def _check_headers(request: Request, limit: int, accepted: Sequence[str]) -> None:
    headers = request.headers
    named = [name for name in accepted if name]
    if media_type(headers.get("content-type", "")) not in accepted:
        raise UnsupportedMediaType(f"Send the body as {' or '.join(named)}.", ", ".join(named))
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without a Content-Encoding.", ", ".join(named))
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
