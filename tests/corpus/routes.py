"""
Every route that takes a body: where it is, what a good body is, and where its numbers are.

A new route belongs in ``TAKERS``, or in ``BODILESS`` if it reads none; the test of the corpus says
so until it is there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from tests.http.inprocess import GRU, STREAM, weeks

SPARE = "co2-lstm"  # the model that operators' routes are asked about
STEPS = 60
VALUES = str(weeks(STEPS)).encode()
SESSION, TAKEN, CLOSED = "{id}", "{taken}", "{closed}"  # the runner puts sessions' own ids in
PLAIN, FAILING = "{plain}", "{failing}"  # of a model that allows no gaps, and one that fails


@dataclass(frozen=True, slots=True)
class Taker:
    """A route that takes a body."""

    method: str
    template: str
    body: bytes  # VALUES stands for its numbers
    place: str = ""  # of the numbers
    optional: bool = False  # an empty body, or an empty object, is good
    untyped: bool = False  # a body that declares no type is read as JSON
    bounded: bool = False  # by the lengths on the card
    status: int = 200

    @property
    def orders(self) -> bool:
        """Whether it says what to do, and holds no numbers: then it may not be long."""
        return "/admin/" in self.template or "/repository/" in self.template

    @property
    def path(self) -> str:
        """A path of the template; {id} stays."""
        return self.fill(self.template)

    def fill(self, template: str) -> str:
        """Put into a path what it still leaves open, but {id}."""
        name = SPARE if self.orders else GRU
        name = STREAM if "/steps" in self.template or "/stream" in self.template else name
        path = template.replace("{name}", name).replace("{version}", "1")
        return path.replace("{n}", "1").replace("{alias}", "stable")

    def with_values(self, values: bytes) -> bytes:
        return self.body.replace(VALUES, values)


def _asked(**document: Any) -> bytes:
    return str(document).replace("'", '"').replace('"VALUES"', VALUES.decode()).encode()


_PREDICT = {"body": _asked(sequences=["VALUES"]), "place": "sequences[0].values", "bounded": True}
_BACKTEST = {"body": _asked(series=["VALUES"]), "place": "series[0].values"}
_OPEN = {"body": _asked(values="VALUES"), "place": "values", "optional": True, "status": 201}
_NAMED = {"session": SESSION, "step": 1, "values": "VALUES"}
_INFER = {
    "body": _asked(
        inputs=[
            {"name": "sequences", "shape": [1, STEPS, 1], "datatype": "FP32", "data": "VALUES"},
        ]
    ),
    "untyped": True,
}
_FORECAST = _asked(
    model=GRU,
    inputs=[
        {"type": "univariate_time_series", "name": "A", "series": "VALUES", "frequency": "week"}
    ],
    options={"horizon": 13},
)
_VERSIONED = "/v1/models/{name}/versions/{version}"
_ADMIN, _REPOSITORY = "/v1/admin/models/{name}", "/v2/repository/models/{name}"

STREAMED = Taker("WS", "/v1/models/{name}/stream", _asked(**_NAMED), "values")
TAKERS = [
    Taker("POST", "/v1/models/{name}/predict", **_PREDICT),
    Taker("POST", f"{_VERSIONED}/predict", **_PREDICT),
    Taker("POST", "/v1/models/{name}/backtest", **_BACKTEST),
    Taker("POST", f"{_VERSIONED}/backtest", **_BACKTEST),
    Taker("POST", "/v2/models/{name}/infer", **_INFER),
    Taker("POST", "/v2/models/{name}/versions/{version}/infer", **_INFER),
    Taker("POST", "/v1/timeseries/forecast", _FORECAST, "inputs[0].series", bounded=True),
    Taker("POST", "/v1/models/{name}/sessions", **_OPEN),
    Taker("POST", f"{_VERSIONED}/sessions", **_OPEN),
    Taker("POST", "/v1/sessions/{id}/steps/{n}", _asked(values="VALUES"), "values"),
    Taker("POST", "/v1/models/{name}/steps", _asked(steps=[_NAMED]), "steps[0].values"),
    Taker("PUT", "/v1/sessions/{id}/state", _asked(state="none")),
    STREAMED,
    Taker("POST", "/v2/repository/index", b'{"ready": true}', optional=True, untyped=True),
    Taker("POST", f"{_REPOSITORY}/load", b'{"parameters": {}}', optional=True, untyped=True),
    Taker("POST", f"{_REPOSITORY}/unload", b'{"parameters": {}}', optional=True, untyped=True),
    Taker("PUT", _ADMIN, _asked(schema_version=1), optional=True),
    *(
        Taker("POST", f"{_ADMIN}/{verb}", _asked(version=1), optional=True, untyped=True)
        for verb in ("load", "unload", "rollback")
    ),
    Taker("PUT", f"{_ADMIN}/aliases/{{alias}}", _asked(version=1)),
    Taker("PUT", f"{_ADMIN}/split", _asked(weights={"1": 1})),
    Taker("PUT", f"{_ADMIN}/shadow", _asked(version=1)),
]
BODILESS = [Taker("POST", "/v1/sessions/{id}/fork", b"", optional=True, untyped=True)]


def takers_of(app: FastAPI) -> set[tuple[str, str]]:
    """Return the method and path of each route that may take a body."""
    return {
        (method, path)
        for path, methods in _routes(app.routes, "")
        for method in methods
        if method in ("POST", "PUT", "PATCH", "WS")
    }


def _routes(routes: Any, prefix: str) -> Iterator[tuple[str, set[str]]]:
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _routes(included.routes, prefix + route.include_context.prefix)
        else:
            yield prefix + route.path, getattr(route, "methods", None) or {"WS"}
