"""Requests that work when pasted, made from the cards of the models that serve."""

from math import prod
from typing import Any

from models.contract import FUTURE, SEQUENCES, ModelCard
from service.http.schemas.timeseries import MULTIVARIATE, UNIVARIATE

SESSION = "an-id-from-opening-one"


def example_request(card: ModelCard) -> dict[str, Any]:
    """Return a small valid body for a model: two sequences of different lengths."""
    shortest, longest = card.min_length, card.max_length
    lengths = sorted({shortest, min(longest, shortest + 4)})
    return {"sequences": [_sequence(card, length, number) for number, length in enumerate(lengths)]}


def example_backtest(card: ModelCard) -> dict[str, Any]:
    """Return a small valid body for a backtest: one series, forecast twice."""
    length = card.min_length + card.horizon + 4
    item = _sequence(card, length, 0)
    item.pop("future", None)  # part of the values
    return {"series": [item], "origins": 2}


def example_forecast(card: ModelCard) -> dict[str, Any]:
    """Return a small valid body of KServe's forecast API: one series, the whole horizon."""
    item = _sequence(card, card.min_length, 0)
    values = item.pop("values")
    kind = MULTIVARIATE if type(values[0]) is list else UNIVARIATE
    start = item.pop("start", "2026-01-01T00:00:00Z")
    series = {"type": kind, "name": item.pop("id"), "series": values, "frequency": card.frequency}
    return {
        "model": card.name,
        "inputs": [series | {"start_timestamp": start} | item],
        "options": {"horizon": card.horizon, "quantiles": list(card.quantiles)},
    }


def example_infer(card: ModelCard) -> dict[str, Any]:
    """Return a small valid body of the Open Inference Protocol: one sequence, every output."""
    columns, known = len(card.features), len(card.known)
    tensors = {SEQUENCES: [1, card.min_length, columns]}
    if known:
        tensors[FUTURE] = [1, card.horizon, known]
    inputs = [
        {"name": name, "datatype": "FP32", "shape": shape, "data": _numbers(prod(shape))}
        for name, shape in tensors.items()
    ]
    return {"inputs": inputs}


def example_opening(card: ModelCard) -> dict[str, Any]:
    """Return a small valid body that opens a session: a history just long enough."""
    item = _sequence(card, card.min_length, 0)
    item.pop("id")
    return item


def example_step(card: ModelCard) -> dict[str, Any]:
    """Return a small valid body for a step of a session of one row."""
    item = _sequence(card, 1, 0)
    return {name: item[name] for name in ("values", "future") if name in item}


def example_steps(card: ModelCard) -> dict[str, Any]:
    """Return a body of the right form for steps of many sessions, whose ids are the caller's."""
    return {"steps": [{"session": SESSION, "step": 1} | example_step(card)]}


def _numbers(count: int) -> list[float]:
    return [10 + (place % 7) / 2 for place in range(count)]


def _sequence(card: ModelCard, length: int, number: int) -> dict[str, Any]:
    width = len(card.given)
    rows = [
        [round(10 + number + (step % 7) / 2 + column, 2) for column in range(width)]
        for step in range(length)
    ]
    item: dict[str, Any] = {"id": f"series-{number}", "values": rows}
    if width == 1:
        item["values"] = [row[0] for row in rows]
    if card.calendar:
        item["start"] = "2026-01-01T00:00:00Z"
    if card.given_known:
        item["future"] = [[0.0] * len(card.given_known)] * card.horizon
    if card.static:
        item["static"] = {name: known[0] if known else 1.0 for name, known in card.static.items()}
    return item
