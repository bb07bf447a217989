"""Read a body within its limits, whatever it holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from service.http.errors import BodyTooLarge, ClientGone, UnsupportedMediaType
from service.http.request.inflate import Inflater
from service.http.request.limits import Limits
from service.http.request.reading import LARGE, Hold

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Form(Generic[Value]):
    """
    What a body must be, and what it becomes.

    ``accepted`` are media types; "" accepts none declared.  ``text`` returns what of the body is
    JSON, in which elements are counted before any is made.  ``apart`` is read in the thread
    however small it is.
    """

    accepted: Sequence[str]
    read: Callable[[bytes], Value]
    text: Callable[[bytes], bytes] = bytes
    apart: bool = False


async def read(request: Request, limits: Limits, form: Form[Value]) -> Value:
    """
    Return what a body becomes, in the thread if it is large.

    Raises UnsupportedMediaType, UnsupportedEncoding, BodyTooLarge, TooManyElements, TooManyBodies
    or ClientGone, and what the form's ``read`` does.
    """

    def value(body: bytes) -> Value:
        limits.check(form.text(body))
        return form.read(body)

    _check_headers(request, limits.max_body_bytes, form.accepted)
    encoding = _header(request, "content-encoding").lower()
    inflater = None
    if encoding not in ("", "identity"):
        inflater = Inflater(encoding, limits.max_body_bytes)
    with Hold(limits.reading) as hold:
        try:
            body = await _receive(request, limits.max_body_bytes, hold)
        except ClientDisconnect:
            raise ClientGone("The client left while it sent its request.") from None
        if inflater is None:
            return await hold.read(lambda: value(body), large=form.apart or len(body) > LARGE)
        whole = inflater.begin(body, LARGE)
        if not whole:
            hold.grow(limits.max_body_bytes)
        return await hold.read(lambda: value(inflater.finish()), large=form.apart or not whole)


async def read_bytes(request: Request, limits: Limits, accepted: Sequence[str]) -> bytes:
    """Return the body as it came, or inflated; raise what ``read`` does."""
    return await read(request, limits, Form(accepted, bytes))


def media_type(content_type: str) -> str:
    """Return the media type of a Content-Type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def _check_headers(request: Request, limit: int, accepted: Sequence[str]) -> None:
    declared = _header(request, "content-type")
    if (media_type(declared) or declared) not in accepted:
        named = [name for name in accepted if name]
        came = "another" if declared else "none"
        raise UnsupportedMediaType(
            f"Send the body with the Content-Type {' or '.join(named)}; it has {came}.",
            ", ".join(named),
        )
    length = request.headers.get("content-length", "0")
    # Python reads no number of thousands of digits, be they zeros; beyond twenty none is here.
    if length.isdecimal() and int(length.lstrip("0")[:20] or "0") > limit:
        raise BodyTooLarge(limit)


def _header(request: Request, name: str) -> str:
    return ",".join(request.headers.getlist(name)).strip()


async def _receive(request: Request, limit: int, hold: Hold) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(limit)
        hold.grow(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)
