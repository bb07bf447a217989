"""
Who may do what: the same decisions for the short way, the long way and the streams.

Whoever asks shows a key, but for what the table opens to anyone.  Services without keys have the
doors of ``doors``.
"""

import asyncio
import time
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import Any

from starlette.routing import BaseRoute, Match

from service.http.access.scopes import ADMIN, ANYONE, Rule, needs, rule_of
from service.keys.document import Scope
from service.keys.errors import (
    AccessError,
    Forbidden,
    NoKey,
    UsageLocked,
    UsageUnavailable,
    WrongKey,
)
from service.keys.ring import Grant, Keyring
from service.repeated import Repeated

AsgiScope = MutableMapping[str, Any]  # a key has scopes of its own
Headers = Sequence[tuple[bytes, bytes]]

VISITOR = "visitor"  # where a request's scope holds who asks
PATIENCE = 1.0  # seconds for a file that another process has, or a disk that is slow
A_MOMENT = 0.001  # seconds until a file that was locked is asked for again
_BEARER = b"bearer "
_CREDENTIALS = frozenset({b"authorization", b"x-api-key"})


class Visitor:
    """Who asks, by the key that was shown."""

    __slots__ = ("_gate", "_scopes", "grant")

    def __init__(self, gate: "Gate", grant: Grant, scopes: frozenset[Scope]) -> None:
        self._gate, self.grant, self._scopes = gate, grant, scopes

    async def charge(self) -> None:
        """Count one request, or one message of a stream; raise AccessError."""
        await self._gate.charge(self.grant)

    def stays(self) -> bool:
        """Whether the key still opens what it did; from now on it is held to what it may by now."""
        grant = self._gate.renew(self.grant)
        if grant is None or self._scopes.isdisjoint(grant.scopes):
            return False
        self.grant = grant
        return True


class Gate:
    """Ask everybody for a key."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def enter(self, asked: AsgiScope) -> Visitor | None:
        """Say who sends a request, there and in it, None where anyone may; raise AccessError."""
        rule = rule_for(asked)
        if rule is not None and rule.scopes is ANYONE:
            return None
        grant = await self._find_anew(asked["headers"])
        scopes = rule.scopes if rule else ADMIN
        visitor = Visitor(self, grant, scopes)
        asked[VISITOR], asked["caller"] = visitor, grant.name
        if scopes.isdisjoint(grant.scopes) and not (rule is None and leads_nowhere(asked)):
            raise _missing(scopes)
        await visitor.charge()
        return visitor

    def find(self, method: str, path: str, headers: Headers) -> Grant:
        """Return what lets a request in, without counting it; raise AccessError."""
        grant, scopes = self._find(headers), needs(method, path)
        if scopes.isdisjoint(grant.scopes):
            raise _missing(scopes)
        return grant

    def passes(self, grant: Grant) -> bool:
        """Count a request with headers seen before, if it may; the long way says why it may not."""
        now = time.time()
        try:
            return self._keyring.holds(grant, now) and (
                grant.meter is None or grant.meter.take(now) is None
            )
        except (UsageLocked, UsageUnavailable):
            return False

    async def charge(self, grant: Grant) -> None:
        """Count one request of a key; raise AccessError if it is one too many."""
        if grant.meter is None:
            return
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                reached = grant.meter.take(time.time())
                break
            except UsageLocked as exc:
                if time.monotonic() > give_up:
                    raise UsageUnavailable from exc
                await asyncio.sleep(A_MOMENT)
        if reached is not None:
            raise reached

    def followed(self) -> Repeated:
        """Return what keeps in force what the file of keys says, while its block lasts."""
        return self._keyring.followed()

    def renew(self, grant: Grant) -> Grant | None:
        """Return what the key allows by now, None if nothing."""
        return self._keyring.renew(grant, time.time())

    async def _find_anew(self, headers: Headers) -> Grant:
        """Do what ``_find`` does, also for a key that was made just now."""
        try:
            return self._find(headers)
        except WrongKey:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._keyring.look_in_thread()
            return self._find(headers)

    def _find(self, headers: Headers) -> Grant:
        shown = [(name, value) for name, value in headers if name in _CREDENTIALS]
        if not shown:
            raise NoKey
        if len(shown) > 1:
            raise WrongKey("Send one key, once.")
        name, text = shown[0]
        if name == b"authorization":
            if text[: len(_BEARER)].lower() != _BEARER:
                raise NoKey
            text = text[len(_BEARER) :]
        return self._keyring.find(text.strip(b" \t"), time.time())


def rule_for(asked: AsgiScope) -> Rule | None:
    """
    Return the rule of a request, None where there is none.

    It is left there as the request's route, under which a refusal is counted.
    """
    method = "WEBSOCKET" if asked["type"] == "websocket" else asked["method"]
    rule = rule_of(method, asked["path"])
    asked["route"] = rule  # the router will say more
    return rule


def _missing(scopes: frozenset[Scope]) -> AccessError:
    return Forbidden(f"The key needs the scope {' or '.join(sorted(scopes))}.")


def leads_nowhere(asked: AsgiScope) -> bool:
    """Whether the router can only answer 404 or 405, which any key may be told."""
    routes: Sequence[BaseRoute] = asked["app"].routes
    return all(route.matches(asked)[0] is not Match.FULL for route in routes)
