"""Requests of every kind that a service takes, of random lengths; and wrong ones."""

import io
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

JSON = {"content-type": "application/json"}
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
_UNIT = {"week": "W", "month": "M"}  # numpy's, by frequency
GONE = (404, 503)  # while a version is loaded anew


@dataclass(frozen=True, slots=True)
class Model:
    """A model of one series, as its card describes it."""

    name: str
    feature: str
    frequency: str
    horizon: int
    shortest: int  # steps
    longest: int


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and the statuses that answer it."""

    kind: str
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    good: tuple[int, ...] = (200, *GONE)


def values(model: Model, chance: random.Random) -> list[float]:
    """Return a series of a random length that a model may read."""
    length = chance.randint(model.shortest, model.longest)
    level = chance.uniform(0, 400)
    return [round(level + chance.gauss(0, 1), 3) for _ in range(length)]


def prediction(model: Model, chance: random.Random) -> Call:
    """Return a good request in one of the formats."""
    makers = (_plain, _objects, _long_way, _tensors, _binary, _arrow, _timeseries, _backtest)
    weights = (10, 3, 3, 2, 4, 1, 1, 1)
    (make,) = chance.choices(makers, weights)
    series = [values(model, chance) for _ in range(chance.choice((1, 1, 1, 2, 5, 16)))]
    return make(model, series)


def _post(kind: str, path: str, body: object) -> Call:
    return Call(kind, "POST", path, json.dumps(body).encode(), JSON)


def _plain(model: Model, series: list[list[float]]) -> Call:
    return _post("JSON", f"/v1/models/{model.name}/predict", {"sequences": series})


def _objects(model: Model, series: list[list[float]]) -> Call:
    sequences = [
        {"id": str(number), "start": "2026-01-04", "values": each}
        for number, each in enumerate(series)
    ]
    body = {"sequences": sequences, "quantiles": [0.1, 0.5, 0.9]}
    return _post("JSON, objects", f"/v1/models/{model.name}/predict", body)


def _long_way(model: Model, series: list[list[float]]) -> Call:
    body = {"sequences": series}
    return _post("JSON, the long way", f"/v1/models/{model.name}/predict?long", body)


def _tensors(model: Model, series: list[list[float]]) -> Call:
    steps = min(len(each) for each in series)
    data = [value for each in series for value in each[:steps]]
    tensor = {"name": "sequences", "shape": [len(series), steps, 1], "datatype": "FP32"}
    body = {"inputs": [tensor | {"data": data}]}
    return _post("tensors in JSON", f"/v2/models/{model.name}/infer", body)


def _binary(model: Model, series: list[list[float]]) -> Call:
    steps = min(len(each) for each in series)
    array = np.array([each[:steps] for each in series], np.float32)[:, :, None]
    tensor = {
        "name": "sequences",
        "shape": list(array.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": array.nbytes},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }
    path = f"/v2/models/{model.name}/infer"
    return Call("binary tensors", "POST", path, head + array.tobytes(), headers)


def _arrow(model: Model, series: list[list[float]]) -> Call:
    table = pl.concat(
        pl.DataFrame(
            {
                "unique_id": [str(number)] * len(each),
                "ds": np.arange(len(each)).astype(f"M8[{_UNIT[model.frequency]}]").astype("M8[us]"),
                model.feature: each,
            }
        )
        for number, each in enumerate(series)
    )
    out = io.BytesIO()
    table.write_ipc_stream(out)
    return Call("Arrow", "POST", f"/v1/models/{model.name}/predict", out.getvalue(), ARROW)


def _timeseries(model: Model, series: list[list[float]]) -> Call:
    inputs = [
        {
            "type": "univariate_time_series",
            "name": str(number),
            "series": each,
            "frequency": model.frequency,
        }
        for number, each in enumerate(series)
    ]
    options = {"horizon": model.horizon, "quantiles": [0.1, 0.9]}
    body = {"model": model.name, "inputs": inputs, "options": options}
    return _post("KServe's forecasts", "/v1/timeseries/forecast", body)


def _backtest(model: Model, series: list[list[float]]) -> Call:
    long = series[0] * (2 + (model.longest + model.horizon) // len(series[0]))
    body = {"series": [{"values": long}], "origins": 3}
    return _post("backtest", f"/v1/models/{model.name}/backtest", body)


READS = (
    "/health/live",
    "/health/ready",
    "/metrics",
    "/v1/models",
    "/v1/service",
    "/v1/models/{name}",
    "/v1/models/{name}/card",
    "/v1/models/{name}/backtest.svg",
    "/v2",
    "/v2/models/{name}",
    "/v2/models/stats",
    "/openapi.json",
    "/docs",
)


def read(model: Model, chance: random.Random) -> Call:
    """Return one of the requests that have no body."""
    return Call("read", "GET", chance.choice(READS).replace("{name}", model.name))


def wrong(model: Model, chance: random.Random) -> Call:
    """Return a request that is refused."""
    path = f"/v1/models/{model.name}/predict"
    number = chance.randrange(10**9)
    refused = (400, 404, 405, 413, 415, 422, 503)
    options = (
        Call("wrong", "POST", path, b'{"sequences": [[1, 2', JSON, refused),
        Call("wrong", "POST", path, b'{"sequences": [[1, 2]]}', JSON, refused),
        Call("wrong", "POST", path, f'{{"x{number}": 1}}'.encode(), JSON, refused),
        Call("wrong", "POST", path, b"<xml/>", {"content-type": "application/xml"}, refused),
        Call("wrong", "POST", path, b"[" * 5000, JSON, refused),
        Call("wrong", "POST", path, b"0" * 300_000, JSON, refused),
        Call("wrong", "GET", f"/v1/models/nobody-{number}", good=refused),
        Call("wrong", "POST", f"/v1/models/nobody-{number}/predict", b"{}", JSON, refused),
        Call("wrong", "GET", f"/nowhere/{number}", good=refused),
        Call("wrong", "DELETE", path, good=refused),
        Call("wrong", "GET", f"/v1/sessions/{number}", good=refused),
    )
    return chance.choice(options)


def late(model: Model, chance: random.Random) -> Call:
    """Return a request whose deadline is a millisecond."""
    series = [values(model, chance) for _ in range(16)]
    call = _plain(model, series)
    headers = JSON | {"x-request-timeout-ms": "1"}
    return Call("deadline of 1 ms", "POST", call.path, call.body, headers)
