"""The OpenAPI document: FastAPI's own, and what the routes read by themselves."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from models.contract import ModelCard, Task
from service.http.limits import TIMEOUT
from service.http.prediction import ROUTING_KEY
from service.http.routes.tenants import TENANT
from service.http.schemas import arrow
from service.http.schemas.admin import ADMIN
from service.http.schemas.backtest import BacktestRequest
from service.http.schemas.examples import (
    SESSION,
    example_backtest,
    example_forecast,
    example_opening,
    example_request,
    example_step,
    example_steps,
)
from service.http.schemas.native import PredictRequest
from service.http.schemas.oip_documents import InferRequest
from service.http.schemas.oip_repository import IndexRequest, LoadRequest, UnloadRequest
from service.http.schemas.sessions import OpenIn, StateOut
from service.http.schemas.steps import StepIn, StepsIn
from service.http.schemas.timeseries import ForecastRequest
from service.http.scopes import ANYONE, needs

# What the bodies are of the calls whose paths end so.
SESSIONS: dict[str, type[BaseModel]] = {
    "/sessions": OpenIn,
    "/steps/{n}": StepIn,
    "}/steps": StepsIn,
    "/state": StateOut,
}
_BODIES: tuple[type[BaseModel], ...] = (
    PredictRequest,
    BacktestRequest,
    ForecastRequest,
    InferRequest,
    IndexRequest,
    LoadRequest,
    UnloadRequest,
    *ADMIN,
    *SESSIONS.values(),
)
EXAMPLES: dict[type[BaseModel], Callable[[ModelCard], Any]] = {
    OpenIn: example_opening,
    StepIn: example_step,
    StepsIn: example_steps,
    StateOut: lambda _: {"state": "what GET answered"},
}

_HEADERS = [
    {
        "name": TIMEOUT,
        "in": "header",
        "required": False,
        "description": "the longest the caller waits, in milliseconds",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    },
    {
        "name": ROUTING_KEY,
        "in": "header",
        "required": False,
        "description": "one key gets one version where traffic is divided; else x-request-id does",
        "schema": {"type": "string"},
    },
    {
        "name": "x-request-id",
        "in": "header",
        "required": False,
        "description": "returned and logged, if it is 1 to 64 letters, digits, '.', '_' or '-'",
        "schema": {"type": "string"},
    },
]

_REFUSALS = {
    "401": "No key, or one that opens nothing",
    "403": "A key without the scope",
    "429": "The key's rate or quota is used up",
}

_TENANT = {
    "name": TENANT,
    "in": "header",
    "required": False,
    "description": "whose sessions; another tenant's are not found",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{0,64}$"},
}

_SERIES = (
    "Arrow IPC stream, uncompressed, one row a step: unique_id (string or integer; the rows of one "
    "series together, in order), ds (timestamp or date; may be left out where the card has no "
    "calendar), a column for each feature but the calendar's, one for each static covariate"
)
_ANSWERS = (
    "Arrow IPC stream, one row a step of the horizon: unique_id, ds (or step, from 1), mean and a "
    "column for each quantile such as q0.1; load_mean, load_q0.1 where there are several targets"
)


def describe(app: FastAPI, *, keys: bool) -> Callable[[Sequence[ModelCard]], dict[str, Any]]:
    """
    Return what writes the document, with an example for each of the models whose cards it gets.

    With ``keys`` it says which scope each operation needs.
    """

    def document(cards: Sequence[ModelCard]) -> dict[str, Any]:
        text = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        for wire in _BODIES:
            schema = wire.model_json_schema(ref_template="#/components/schemas/{model}")
            text["components"]["schemas"] |= schema.pop("$defs", {})
            text["components"]["schemas"][wire.__name__] = schema
        for path, operations in text["paths"].items():
            if path.endswith(("/predict", "/backtest", "/infer", "/forecast")):
                operations["post"].setdefault("parameters", []).extend(_HEADERS)
            if path.endswith("/predict"):
                body = _body(cards, PredictRequest, example_request)
                body["content"] |= _table(_SERIES)
                operations["post"]["requestBody"] = body
                operations["post"]["responses"]["200"]["content"] |= _table(_ANSWERS)
            if path.endswith("/backtest"):
                operations["post"]["requestBody"] = _body(cards, BacktestRequest, example_backtest)
            if path.endswith("/forecast"):
                forecasters = [card for card in cards if card.task is Task.FORECAST]
                body = _body(forecasters, ForecastRequest, example_forecast)
                operations["post"]["requestBody"] = body
            _describe_sessions(path, operations, cards)
            for operation in operations.values():
                _name_examples(operation, cards)
        if keys:
            _describe_keys(text)
        return text

    return document


def _describe_sessions(path: str, operations: dict[str, Any], cards: Sequence[ModelCard]) -> None:
    """Add to the operations of a path what its sessions' routes read by themselves."""
    for method, operation in operations.items():
        if "sessions" in operation["tags"]:
            operation["parameters"].append(_TENANT)
        for end, wire in SESSIONS.items():
            if path.endswith(end) and method in ("post", "put"):
                operation["parameters"] += _HEADERS
                operation["requestBody"] = _body(cards, wire, EXAMPLES[wire])


def _describe_keys(text: dict[str, Any]) -> None:
    """Add which scope each operation needs, and what it answers to who has none."""
    text["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, operations in text["paths"].items():
        for method, operation in operations.items():
            scopes = needs(method.upper(), path)  # a template is a path of its own pattern
            if scopes is ANYONE:
                continue
            told = f"Needs a key with the scope {' or '.join(sorted(scopes))}."
            operation["description"] = f"{operation.get('description', '')}\n\n{told}".strip()
            operation["security"] = [{"bearer": []}, {"header": []}]
            for status, title in _REFUSALS.items():
                refusal = {"description": title, "content": problem}
                operation["responses"].setdefault(status, refusal)


def _body(
    cards: Sequence[ModelCard], wire: type[BaseModel], example: Callable[[ModelCard], Any]
) -> dict[str, Any]:
    examples = {
        card.name: {"summary": f"for {card.name}", "value": example(card)} for card in cards
    }
    schema = {"$ref": f"#/components/schemas/{wire.__name__}"}
    return {
        "required": True,
        "content": {"application/json": {"schema": schema, "examples": examples}},
    }


def _table(what: str) -> dict[str, Any]:
    return {
        arrow.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary", "description": what}}
    }


def _name_examples(operation: dict[str, Any], cards: Sequence[ModelCard]) -> None:
    values = {"name": cards[0].name if cards else "name", "version": "1", "id": SESSION, "n": "1"}
    values["alias"] = "stable"
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["example"] = values[parameter["name"]]
