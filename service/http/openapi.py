"""The OpenAPI document: FastAPI's own, and what the routes read by themselves."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from models.contract import ModelCard, Task
from service.http.access.scopes import ANYONE, needs
from service.http.prediction import ROUTING_KEY
from service.http.problems.table import MEDIA_TYPE
from service.http.request.limits import TIMEOUT
from service.http.routes.tenants import TENANT
from service.http.schemas import arrow
from service.http.schemas.admin import ADMIN
from service.http.schemas.backtest import BacktestRequest
from service.http.schemas.examples import (
    SESSION,
    example_backtest,
    example_forecast,
    example_infer,
    example_opening,
    example_request,
    example_step,
    example_steps,
)
from service.http.schemas.native import PredictRequest
from service.http.schemas.oip_documents import InferRequest
from service.http.schemas.oip_repository import IndexRequest, LoadRequest, UnloadRequest
from service.http.schemas.reply import JSON
from service.http.schemas.sessions import OpenIn, StateOut
from service.http.schemas.steps import StepIn, StepsIn
from service.http.schemas.timeseries import ForecastRequest


class Sent(NamedTuple):
    """The body of the calls whose paths end so, and an example of it for a model."""

    end: str
    wire: type[BaseModel]
    example: Callable[[ModelCard], Any]
    tasks: frozenset[Task] = frozenset(Task)  # of the models that can be asked


_SENT = (
    Sent("/predict", PredictRequest, example_request),
    Sent("/backtest", BacktestRequest, example_backtest, frozenset({Task.FORECAST})),
    Sent("/forecast", ForecastRequest, example_forecast, frozenset({Task.FORECAST})),
    Sent("/infer", InferRequest, example_infer),
    Sent("/sessions", OpenIn, example_opening),
    Sent("/steps/{n}", StepIn, example_step),
    Sent("}/steps", StepsIn, example_steps),
    Sent("/state", StateOut, lambda _: {"state": "what GET answered"}),
)
_BODIES: tuple[type[BaseModel], ...] = (
    *(sent.wire for sent in _SENT),
    IndexRequest,
    LoadRequest,
    UnloadRequest,
    *ADMIN,
)

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
            for method, operation in operations.items():
                _describe_parameters(operation, method, path, cards)
                if method in {"post", "put"}:
                    _describe_body(operation, path, cards)
        if keys:
            _describe_keys(text)
        return text

    return document


def _describe_parameters(
    operation: dict[str, Any], method: str, path: str, cards: Sequence[ModelCard]
) -> None:
    """Add the headers that routes read by themselves, and examples of what stands in the path."""
    found = operation.get("parameters", [])
    if "sessions" in operation["tags"]:
        found.append(_TENANT)
    if method in {"post", "put"} and path.endswith(tuple(sent.end for sent in _SENT)):
        found += _HEADERS
    if found:
        operation["parameters"] = found
    values = {"name": cards[0].name if cards else "name", "version": "1", "id": SESSION, "n": "1"}
    values["alias"] = "stable"
    for parameter in found:
        if parameter["in"] == "path":
            parameter["example"] = values[parameter["name"]]


def _describe_body(operation: dict[str, Any], path: str, cards: Sequence[ModelCard]) -> None:
    """Add the body that a route reads by itself, with an example for each model."""
    for sent in _SENT:
        if path.endswith(sent.end):
            examples = {
                card.name: {"summary": f"for {card.name}", "value": sent.example(card)}
                for card in cards
                if card.task in sent.tasks
            }
            schema = {"$ref": f"#/components/schemas/{sent.wire.__name__}"}
            body = operation.setdefault("requestBody", {"required": True, "content": {}})
            body["content"][JSON] = {"schema": schema, "examples": examples}
    if path.endswith("/predict"):
        operation["requestBody"]["content"] |= _table(_SERIES)
        operation["responses"]["200"]["content"] |= _table(_ANSWERS)


def _describe_keys(text: dict[str, Any]) -> None:
    """Add which scope each operation needs, and what it answers to who has none."""
    text["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
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


def _table(what: str) -> dict[str, Any]:
    return {
        arrow.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary", "description": what}}
    }
