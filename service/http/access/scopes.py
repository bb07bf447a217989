"""
The table: every route -> the scopes that open it, or nothing at all.

It stands before the router and reads the same path with the same patterns.  What is not in it
needs ``admin``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from service.keys.document import Scope

ADMIN = frozenset({Scope.ADMIN})
PREDICT = frozenset({Scope.PREDICT})
SESSIONS = frozenset({Scope.SESSIONS})
METRICS = frozenset({Scope.METRICS})
ANYONE: frozenset[Scope] = frozenset()  # without a key
ANY_KEY = frozenset(Scope)
MODELS = frozenset({Scope.PREDICT, Scope.SESSIONS, Scope.ADMIN})  # who works with them

_SEGMENT = "[^/]+"  # what the router lets a parameter be


@dataclass(frozen=True)
class Rule:
    """The routes of one template and some methods, and who may call them."""

    path: str  # a template; ``**`` at its end is any path
    methods: frozenset[str]
    scopes: frozenset[Scope]
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        parts = re.split(r"(\{\w+\}|\*\*$)", self.path)
        wild = {"**": ".*"}
        pattern = "".join(
            wild.get(part, _SEGMENT) if number % 2 else re.escape(part)
            for number, part in enumerate(parts)
        )
        object.__setattr__(self, "pattern", re.compile(pattern, re.DOTALL))

    def covers(self, method: str, path: str) -> bool:
        """Whether a request is for one of the routes."""
        return method in self.methods and self.pattern.fullmatch(path) is not None


def _rules(scopes: frozenset[Scope], paths: Mapping[str, str]) -> Iterable[Rule]:
    for path, methods in paths.items():
        yield Rule(path, frozenset(methods.split()), scopes)


_MODEL, _VERSION = "/v1/models/{name}", "/v1/models/{name}/versions/{version}"
_V2, _V2_VERSION = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
_SESSION = "/v1/sessions/{id}"

# Above: what is asked most.  WEBSOCKET is the method of an upgrade.
TABLE: tuple[Rule, ...] = (
    *_rules(
        PREDICT,
        {
            f"{_MODEL}/predict": "POST",
            f"{_V2}/infer": "POST",
            f"{_VERSION}/predict": "POST",
            f"{_V2_VERSION}/infer": "POST",
            f"{_MODEL}/backtest": "POST",
            f"{_VERSION}/backtest": "POST",
            "/v1/timeseries/**": "GET HEAD POST",
        },
    ),
    *_rules(
        SESSIONS,
        {
            f"{_SESSION}/steps/{{n}}": "POST",
            f"{_MODEL}/steps": "POST",
            f"{_MODEL}/stream": "WEBSOCKET",
            f"{_MODEL}/sessions": "POST",
            f"{_VERSION}/sessions": "POST",
            _SESSION: "GET HEAD DELETE",
            f"{_SESSION}/state": "GET HEAD PUT",
            f"{_SESSION}/fork": "POST",
        },
    ),
    *_rules(
        ANYONE,
        dict.fromkeys(
            ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"), "GET HEAD"
        ),
    ),
    *_rules(METRICS, {"/metrics": "GET HEAD"}),
    *_rules(
        ANY_KEY,
        dict.fromkeys(
            (
                "/v1/service",
                "/v2",
                "/v2/models/stats",  # before the models, of which it might be one
                f"{_V2}/stats",
                f"{_V2_VERSION}/stats",
                "/openapi.json",
                "/docs",
                "/docs/**",
                "/redoc",
            ),
            "GET HEAD",
        ),
    ),
    *_rules(
        MODELS,
        {
            "/v1/models": "GET HEAD",
            _MODEL: "GET HEAD",
            _VERSION: "GET HEAD",
            f"{_MODEL}/card": "GET HEAD",
            f"{_MODEL}/backtest.svg": "GET HEAD",
            f"{_VERSION}/backtest.svg": "GET HEAD",
            _V2: "GET HEAD",
            _V2_VERSION: "GET HEAD",
            f"{_V2}/config": "GET HEAD",
            f"{_V2_VERSION}/config": "GET HEAD",
            f"{_V2}/ready": "GET HEAD",
            f"{_V2_VERSION}/ready": "GET HEAD",
            "/v2/repository/index": "POST",
        },
    ),
    *_rules(
        ADMIN,
        {
            "/v2/repository/models/**": "GET HEAD POST",
            "/v1/admin/**": "GET HEAD POST PUT PATCH DELETE",
        },
    ),
)


def rule_of(method: str, path: str) -> Rule | None:
    """Return the rule of a request, None where the table has none."""
    return next((rule for rule in TABLE if rule.covers(method, path)), None)


def needs(method: str, path: str) -> frozenset[Scope]:
    """Return the scopes of which one opens a route; ANYONE is none."""
    rule = rule_of(method, path)
    return rule.scopes if rule else ADMIN
