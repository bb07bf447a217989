"""One prediction by the long way: read the request, ask before the deadline, wrap the answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fastapi import Request, Response

from models.contract import ModelCard
from service.engine.core import Engine, LoadedModel
from service.engine.jobs import Answer, Row
from service.http.deflate import respond
from service.http.request.body import Form, read
from service.http.request.deadline import deadline
from service.http.request.limits import Limits
from service.http.request.presence import Presence
from service.http.schemas.reply import Reply

ROUTING_KEY = "x-routing-key"  # one key always gets one version where the traffic is divided


def routing_key(request: Request) -> str | None:
    """Return by what the version of a request is chosen: its routing key, or the id it brings."""
    headers = request.headers
    return headers.get(ROUTING_KEY) or headers.get("x-request-id")


class Query(Protocol):
    """A request that was read: what every wire format makes of a body."""

    @property
    def rows(self) -> Sequence[Row]:
        """The sequences to answer, in order."""

    @property
    def timeout(self) -> float | None:
        """The seconds that the body itself gives its answer, counted from the request's coming."""

    def write(self, answers: Sequence[Answer], version: int) -> Reply:
        """Return the answer's body."""


def _whole(body: bytes, _: str | None) -> bytes:
    return body


@dataclass(frozen=True, slots=True)
class WireFormat:
    """
    The media types of a body, and who reads it; "" accepts a body that declares none.

    ``read`` takes the body, the value of the request header ``header`` (None if it is not
    there), the card and the most sequences allowed.  ``text`` takes the first two, and returns
    what of the body is JSON.
    """

    accepted: tuple[str, ...]
    read: Callable[[bytes, str | None, ModelCard, int], Query]
    header: str = ""
    text: Callable[[bytes, str | None], bytes] = _whole


async def predict(
    engine: Engine, model: LoadedModel, request: Request, limits: Limits, wire: WireFormat
) -> Response:
    """
    Answer one request.

    Raises DeadlineExceeded and ClientGone beside all that the format and the engine raise.
    """
    request.scope["entry"] = model.entry
    async with deadline(request, limits) as ends:
        header = ",".join(request.headers.getlist(wire.header)) or None if wire.header else None
        form = Form(
            wire.accepted,
            lambda body: wire.read(body, header, model.card, limits.max_sequences),
            lambda body: wire.text(body, header),
        )
        query = await read(request, limits, form)
        ends.shorten(query.timeout)
        async with Presence(request.receive):
            answers, request.scope["timing"] = await engine.predict(model, query.rows)
    reply = query.write(answers, model.entry.version)
    return await respond(reply, request)
