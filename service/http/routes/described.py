"""The OpenAPI document as it is sent: written once for the models that serve."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.contract import ModelCard
from service.engine.core import Engine
from service.http.schemas.reply import JSON

OPENAPI = "/openapi.json"


class Described:
    """
    The last document, and of which models it speaks.

    To write one takes longer than many predictions, so that it is done in a thread, and once.
    """

    def __init__(
        self, engine: Engine, write: Callable[[Sequence[ModelCard]], dict[str, Any]]
    ) -> None:
        self._engine, self._write = engine, write
        self._writing = asyncio.Lock()
        self._of: list[str] | None = None
        self._text = b""

    async def text(self) -> bytes:
        """Return the document of the models that serve now."""
        async with self._writing:
            engine = self._engine
            models = [model for name in engine.names() if (model := engine.newest(name))]
            of = [model.sha256 for model in models]
            if of != self._of:
                cards = [model.card for model in models]
                self._text = await asyncio.to_thread(lambda: orjson.dumps(self._write(cards)))
                self._of = of
            return self._text


def route(engine: Engine, write: Callable[[Sequence[ModelCard]], dict[str, Any]]) -> Route:
    """Return the route of the document; FastAPI's own must not be reached before it."""
    described = Described(engine, write)

    async def openapi(_: Request) -> Response:
        return Response(await described.text(), media_type=JSON)

    return Route(OPENAPI, openapi, include_in_schema=False)
