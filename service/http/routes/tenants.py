"""Whose sessions a request is for."""

import re
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from service.http.access.gate import VISITOR, Visitor
from service.http.errors import InvalidRequest

TENANT = "x-tenant"
_TENANT = re.compile("[A-Za-z0-9._-]{0,64}", re.ASCII)


def tenant_of(connection: HTTPConnection) -> str:
    """Return whose sessions are asked for; raise InvalidRequest, Forbidden."""
    given = connection.headers.getlist(TENANT)
    if len(given) > 1:
        raise InvalidRequest(TENANT, "expected one header, got several")
    tenant = given[0] if given else ""
    if not _TENANT.fullmatch(tenant):
        raise InvalidRequest(TENANT, "expected at most 64 of A-Z, a-z, 0-9, '.', '_' and '-'")
    visitor: Visitor | None = connection.scope.get(VISITOR)
    return tenant if visitor is None else visitor.grant.tenant_of(tenant if given else None)


async def _tenant(connection: HTTPConnection) -> str:
    return tenant_of(connection)  # FastAPI would run it in a thread if this were no coroutine


Tenant = Annotated[str, Depends(_tenant)]
