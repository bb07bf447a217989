"""Where a service has no keys: who may ask what, by where it listens; nobody is known."""

import re

from service.http.access.gate import AsgiScope, Gate, leads_nowhere, rule_for
from service.http.access.scopes import ADMIN, ANYONE
from service.keys.document import Scope
from service.keys.errors import Forbidden, NoKey

_STRANGERS = frozenset({Scope.PREDICT, Scope.SESSIONS, Scope.METRICS})
# What this machine calls itself; any other name may be a stranger's that leads here.
_HERE = re.compile(rb"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)


class Strangers:
    """On a public address, because someone said so: all but administering."""

    async def enter(self, asked: AsgiScope) -> None:
        """Let a request in that needs no administrator; raise NoKey."""
        if _administers(asked, but=_STRANGERS):
            raise NoKey


class Household:
    """
    On this machine alone: everything, but not for another site's page in a browser here.

    A browser sends a simple request wherever a page tells it to, and asks nobody first; one that
    administers must not come from a page, and not by a name that is not this machine's.
    """

    async def enter(self, asked: AsgiScope) -> None:
        """Let a request in that no other site can have made; raise Forbidden."""
        if _administers(asked, but=frozenset(Scope) - ADMIN) and _is_of_another_page(asked):
            raise Forbidden("Without keys who administers asks localhost, and from no page.")


Entrance = Gate | Strangers | Household


def _administers(asked: AsgiScope, but: frozenset[Scope]) -> bool:
    """Whether a request is for what none of those scopes opens."""
    rule = rule_for(asked)
    if rule is None:
        return not leads_nowhere(asked)
    return rule.scopes is not ANYONE and rule.scopes.isdisjoint(but)


def _is_of_another_page(asked: AsgiScope) -> bool:
    headers = dict(asked["headers"])
    host = headers.get(b"host", b"")
    site, origin = headers.get(b"sec-fetch-site", b"none"), headers.get(b"origin")
    own = origin is None or origin.partition(b"://")[2] == host  # the page of our own docs
    return not (_HERE.fullmatch(host) and own and site in (b"none", b"same-origin"))
