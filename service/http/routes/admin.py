"""Which versions serve: for operators. A route finds, asks, wraps."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from models.serving import ALIAS_PATTERN, Serving
from service.engine.core import Engine
from service.engine.errors import ModelNotFound
from service.http.errors import InvalidRequest
from service.http.request.body import read_bytes
from service.http.request.deadline import deadline
from service.http.request.limits import Limits
from service.http.routes.named import Name
from service.http.routes.refusals import PROBLEMS
from service.http.schemas.admin import (
    AliasIn,
    ModelState,
    ModelStates,
    ShadowIn,
    SplitIn,
    VersionIn,
    read_serving,
    state,
)
from service.http.schemas.document import parse
from service.http.schemas.reply import JSON
from service.http.schemas.wire import Wire, body_of, validated
from service.sessions.shadows import Shadows

AliasName = Annotated[str, Path(description="a name for a version, such as stable or canary")]
_Order = Callable[[str, int | None, str | None], Awaitable[object]]
_ALIAS = re.compile(ALIAS_PATTERN, re.ASCII)
_TAG = re.compile(r'(?:W/)?"([0-9a-f]{16})"', re.ASCII)
_PROBLEMS = PROBLEMS | dict.fromkeys((409, 412), PROBLEMS[422])


def router(engine: Engine, limits: Limits, shadows: Shadows | None) -> APIRouter:
    """
    Return the routes of one engine, and of the shadows that follow its sessions, if there are any.

    Each change is kept, and in force in the process that answers, before it is answered.
    ``If-Match`` with the ETag of what was read refuses a change of what has changed since.
    """
    routes = APIRouter(prefix="/v1/admin/models", tags=["admin"], responses=_PROBLEMS)
    desk = _Desk(engine, limits, shadows)

    @routes.get("")
    async def list_states() -> ModelStates:
        """Say of every model which versions shall serve, and which do."""
        return ModelStates(models=[state(engine, name, shadows) for name in engine.names()])

    @routes.get("/{name}")
    async def look(name: Name, response: Response) -> ModelState:
        """Say which versions of a model shall serve, and which do."""
        if name not in engine.names():
            raise ModelNotFound(name)
        return desk.tell(name, response)

    @routes.put("/{name}", openapi_extra=body_of(Serving, required=True))
    async def put(name: Name, request: Request, response: Response) -> ModelState:
        """Replace the state that a model shall be in."""
        serving = read_serving(await desk.body(request))
        await engine.changes.replace(name, serving, _expected(request))
        return desk.tell(name, response)

    _add_versions(routes, engine, desk)
    _add_aliases(routes, desk)
    _add_traffic(routes, desk)
    return routes


class _Desk:
    """Where the routes take changes, and tell what became of them."""

    def __init__(self, engine: Engine, limits: Limits, shadows: Shadows | None) -> None:
        self._engine = engine
        self._shadows = shadows
        self._limits = limits.of_orders()

    async def body(self, request: Request, *, optional: bool = False) -> bytes:
        accepted = (JSON, "") if optional else (JSON,)
        async with deadline(request, self._limits):
            return await read_bytes(request, self._limits, accepted)

    async def read(self, request: Request, wire: type[Wire], *, optional: bool = False) -> Wire:
        body = await self.body(request, optional=optional)
        return validated(wire, {} if optional and not body else parse(body))

    async def move(
        self, order: _Order, name: str, request: Request, response: Response
    ) -> ModelState:
        """Give an order about the version of the body, or about all of the model."""
        version = (await self.read(request, VersionIn, optional=True)).version
        await order(name, version, _expected(request))
        return self.tell(name, response)

    async def change(
        self, edit: Callable[[Serving], Serving], name: str, request: Request, response: Response
    ) -> ModelState:
        """Change a part of the state, and leave the rest."""
        await self._engine.changes.make(name, edit, _expected(request))
        return self.tell(name, response)

    def tell(self, name: str, response: Response) -> ModelState:
        found = state(self._engine, name, self._shadows)
        response.headers["etag"] = f'"{found.desired.tag}"'
        return found


def _add_versions(routes: APIRouter, engine: Engine, desk: _Desk) -> None:
    @routes.post("/{name}/load", openapi_extra=body_of(VersionIn))
    async def load(name: Name, request: Request, response: Response) -> ModelState:
        """Let a version, or a model as it was, answer; what failed before is tried again."""
        return await desk.move(engine.changes.load, name, request, response)

    @routes.post("/{name}/unload", openapi_extra=body_of(VersionIn))
    async def unload(name: Name, request: Request, response: Response) -> ModelState:
        """Let a version, or all of a model, answer nobody; what is on its way is answered."""
        return await desk.move(engine.changes.unload, name, request, response)

    @routes.post("/{name}/rollback", openapi_extra=body_of(VersionIn))
    async def roll_back(name: Name, request: Request, response: Response) -> ModelState:
        """Send all traffic to a version, or to the one before; newer ones are left alone."""
        return await desk.move(engine.changes.roll_back, name, request, response)


def _add_aliases(routes: APIRouter, desk: _Desk) -> None:
    @routes.put("/{name}/aliases/{alias}", openapi_extra=body_of(AliasIn, required=True))
    async def set_alias(
        name: Name, alias: AliasName, request: Request, response: Response
    ) -> ModelState:
        """Let an alias stand for a version, which is loaded first."""
        version = (await desk.read(request, AliasIn)).version
        if not _ALIAS.fullmatch(alias):
            raise InvalidRequest("alias", f"expected a name that matches {ALIAS_PATTERN}")
        return await desk.change(
            lambda serving: serving.with_alias(alias, version), name, request, response
        )

    @routes.delete("/{name}/aliases/{alias}")
    async def drop_alias(
        name: Name, alias: AliasName, request: Request, response: Response
    ) -> ModelState:
        """Forget an alias."""
        return await desk.change(
            lambda serving: serving.with_alias(alias, None), name, request, response
        )


def _add_traffic(routes: APIRouter, desk: _Desk) -> None:
    async def put(name: str, request: Request, response: Response, **part: object) -> ModelState:
        return await desk.change(lambda serving: serving.with_(**part), name, request, response)

    @routes.put("/{name}/split", openapi_extra=body_of(SplitIn, required=True))
    async def set_split(name: Name, request: Request, response: Response) -> ModelState:
        """Divide the traffic among versions and aliases, which are loaded first."""
        weights = (await desk.read(request, SplitIn)).weights
        return await put(name, request, response, traffic=weights)

    @routes.delete("/{name}/split")
    async def drop_split(name: Name, request: Request, response: Response) -> ModelState:
        """Let the newest version have all traffic, also those to come."""
        return await put(name, request, response, traffic=None)

    @routes.put("/{name}/shadow", openapi_extra=body_of(ShadowIn, required=True))
    async def set_shadow(name: Name, request: Request, response: Response) -> ModelState:
        """Ask a version too, unseen, for a share of the requests."""
        given = await desk.read(request, ShadowIn)
        return await put(name, request, response, shadow=given.model_dump())

    @routes.delete("/{name}/shadow")
    async def drop_shadow(name: Name, request: Request, response: Response) -> ModelState:
        """Ask no version unseen."""
        return await put(name, request, response, shadow=None)


def _expected(request: Request) -> str | None:
    """Return the tag that a change is meant for; raise InvalidRequest."""
    given = request.headers.get("if-match", "*").strip()
    if given == "*":
        return None
    match = _TAG.fullmatch(given)
    if match is None:
        raise InvalidRequest("if-match", "expected one ETag, as GET answers it")
    return match[1]
