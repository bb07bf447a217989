"""
Answers made smaller for who asks for just that.

Most clients say of themselves that they can read gzip among other codings; compressing for all
of them would cost more than the predictions do.  Who names one coding alone, as Triton's clients
do when told to, gets it.
"""

import asyncio
import zlib

from fastapi import Request, Response

from service.http.schemas.reply import Reply

LEVEL = 1  # numbers hardly become smaller at a higher one
LARGE = 2**16  # bytes; more is compressed in a thread
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def coding_of(accept: str | None) -> str | None:
    """Return the one coding that an Accept-Encoding names, if it is one of ours."""
    if accept is None:
        return None
    found = accept.strip().lower()
    return found if found in _WINDOWS else None


async def respond(reply: Reply, request: Request) -> Response:
    """Wrap an answer, compressed where the request asks for it alone and it gains by it."""
    body, headers = reply.body, dict(reply.headers)
    coding = coding_of(request.headers.get("accept-encoding"))
    if coding is not None:
        large = len(body) > LARGE
        deflated = (
            await asyncio.to_thread(_deflate, body, coding) if large else _deflate(body, coding)
        )
        if len(deflated) < len(body):
            body, headers["content-encoding"] = deflated, coding
    return Response(body, headers=headers, media_type=reply.media_type)


def _deflate(body: bytes, coding: str) -> bytes:
    packer = zlib.compressobj(LEVEL, wbits=_WINDOWS[coding])
    return packer.compress(body) + packer.flush()
