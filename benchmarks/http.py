"""
Requests/s and latency of the service beside ONNX Runtime alone, in one run, as one table.

The load comes from ``wrk`` on the same machine, so the server never has all of its processors.
Peers are measured by whoever runs them; ``--peers`` takes their rows into the table.
"""

import io
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.load import Body, Load, measure
from benchmarks.models import FEATURES, KINDS, STEPS, published, recipe
from examples.serving import Served, serving
from service.engine.cpus import available_cpus
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner

BATCHES = (8, 16, 32, 64)
MANY = 512  # windows in a bulk request
CALM = {"SEQSERVE_ACCESS_LOG": "false", "SEQSERVE_PROVIDER": "cpu"}

Rows = list[tuple[str, ...]]

_HOUR = np.timedelta64(1, "h")


@click.command()
@click.option("--kind", type=click.Choice(KINDS), default="lstm", show_default=True)
@click.option("--seconds", default=5, show_default=True, help="Length of each measurement.")
@click.option("--connections", default="1,64,256", show_default=True)
@click.option("--workers", default="1,2", show_default=True, help="Numbers of worker processes.")
@click.option("--peers", type=click.Path(exists=True, path_type=Path), help="Rows of others, JSON.")
def main(kind: str, seconds: int, connections: str, workers: str, peers: Path | None) -> None:
    """Measure the service on this machine."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise click.ClickException("wrk is needed: apt-get install wrk")
    path = published(recipe(kind)).path
    loads = [int(part) for part in connections.split(",")]
    limits = _limits(path, seconds)
    limit = limits.all_processors
    rows = _peer_rows(peers)
    with tempfile.TemporaryDirectory() as text:
        bench = _Bench(wrk, Path(text), path.parents[1], kind, seconds)
        for count in (int(part) for part in workers.split(",")):
            rows += bench.windows(count, loads, limit)
        rows += bench.without("long way only", {"SEQSERVE_EXPRESS": "false"}, loads, limit)
        rows += bench.without("no runs on the loop", {"SEQSERVE_INLINE_MS": "0"}, loads, limit)
        rows += bench.without("no measured costs", {"SEQSERVE_PROFILE_MS": "0"}, loads, limit)
        bulk = bench.bulk(limit)
    _print(kind, rows, bulk, limits)


class _Bench:
    """One model, served again and again."""

    def __init__(self, wrk: str, folder: Path, models: Path, kind: str, seconds: int) -> None:
        self._wrk, self._folder, self._seconds = wrk, folder, seconds
        self._models = models
        self._json = f"/v1/models/bench-{kind}/predict"
        self._binary = f"/v2/models/bench-{kind}/infer"

    def windows(self, workers: int, loads: list[int], limit: float) -> Rows:
        """Measure one window a request, as JSON and as binary tensors."""
        rows: Rows = []
        with self._serving(workers) as service:
            for name, path, body in (
                ("JSON", self._json, json_body(windows(1))),
                ("binary", self._binary, binary_body(windows(1))),
            ):
                for count in loads:
                    found = self._load(service.url + path, body, count)
                    rows.append(_row(f"ours, {name}, {workers} workers", count, found, limit))
        return rows

    def without(
        self, name: str, settings: Mapping[str, str], loads: list[int], limit: float
    ) -> Rows:
        """Measure JSON with one idea switched off."""
        with self._serving(2, settings) as service:
            body = json_body(windows(1))
            found = [(count, self._load(service.url + self._json, body, count)) for count in loads]
        return [_row(f"ours, JSON, {name}", count, load, limit) for count, load in found]

    def bulk(self, limit: float) -> Rows:
        """Time single requests of many windows."""
        rows: Rows = []
        with self._serving(1) as service, httpx.Client(base_url=service.url, timeout=60) as client:
            for name, path, body in (
                ("JSON", self._json, json_body(windows(MANY))),
                ("Arrow", self._json, arrow_body(windows(MANY))),
                ("binary", self._binary, binary_body(windows(MANY))),
            ):
                spent = _median(lambda: post(client, path, body), self._seconds)  # noqa: B023
                rate = MANY / spent
                rows.append((name, f"{spent * 1000:.1f}", f"{rate:,.0f}", f"{rate / limit:.2f}"))
        return rows

    def _serving(
        self, workers: int, settings: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Served]:
        options = ("--models", str(self._models), "--workers", str(workers))
        environment = CALM | dict(settings or {})
        return serving(self._folder / "service.log", *options, environment=environment)

    def _load(self, url: str, body: Body, connections: int) -> Load:
        return measure(self._wrk, self._folder, url, body, connections, self._seconds)


def json_body(windows: NDArray[np.float32]) -> Body:
    """Return a native request of (batch, time, features)."""
    text = json.dumps(
        {"sequences": np.round(windows.astype(float), 4).tolist()}, separators=(",", ":")
    )
    return Body(text.encode(), {"Content-Type": "application/json"})


def binary_body(windows: NDArray[np.float32]) -> Body:
    """Return the same as an Open Inference Protocol request, binary both ways."""
    tensor = {
        "name": "sequences",
        "shape": list(windows.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": windows.nbytes},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return Body(head + windows.tobytes(), headers)


def arrow_body(windows: NDArray[np.float32]) -> Body:
    """Return the same as a long table: one row a step, one column a feature."""
    batch, steps, _ = windows.shape
    columns = {"unique_id": np.repeat(np.arange(batch), steps).astype(str)}
    columns["ds"] = np.tile(np.datetime64("2026-01-01", "us") + np.arange(steps) * _HOUR, batch)
    for place, name in enumerate(recipe("lstm").data.columns):
        columns[name] = windows[:, :, place].ravel()
    out = io.BytesIO()
    pl.DataFrame(columns).write_ipc_stream(out)
    return Body(out.getvalue(), {"Content-Type": "application/vnd.apache.arrow.stream"})


def windows(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(count, STEPS, FEATURES)).astype(np.float32)


def post(client: httpx.Client, path: str, body: Body) -> None:
    """Send a body; raise httpx.HTTPStatusError unless the answer is good."""
    client.post(path, content=body.content, headers=body.headers).raise_for_status()


def _median(work: Callable[[], None], seconds: float) -> float:
    work()
    spent, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return float(np.median(spent))


@dataclass(frozen=True, slots=True)
class Limits:
    """What ONNX Runtime does alone, without HTTP and without validation."""

    all_processors: float  # windows/s, one thread a run and a run a processor
    default_threads: float  # windows/s, one run at a time on the threads it takes by itself
    alone: float  # seconds of a run of one window


def _limits(path: Path, seconds: int) -> Limits:
    """Measure the limits by the best size of a batch."""
    device, rows = Device("cpu", "the limit"), [Row(window) for window in windows(max(BATCHES))]
    runner, default = OnnxRunner(path, device), OnnxRunner(path, device, threads=0)
    each = seconds / len(BATCHES)
    return Limits(
        max(_rate(runner, rows[:size], each, available_cpus()) for size in BATCHES),
        max(_rate(default, rows[:size], each, 1) for size in BATCHES),
        _median(lambda: _run(runner, rows[:1]), 1),
    )


def _run(runner: OnnxRunner, rows: list[Row]) -> None:
    runner.run(rows)


def _rate(runner: OnnxRunner, rows: list[Row], seconds: float, at_once: int) -> float:
    counts = [0] * at_once
    started = time.perf_counter()

    def work(place: int) -> None:
        while time.perf_counter() < started + seconds:
            runner.run(rows)
            counts[place] += len(rows)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def _row(name: str, connections: int, load: Load, limit: float) -> tuple[str, ...]:
    figures = f"{load.requests:,.0f}", f"{load.p50:.2f}", f"{load.p99:.2f}"
    return name, str(connections), *figures, f"{load.requests / limit:.2f}"


def _peer_rows(path: Path | None) -> Rows:
    if path is None:
        return []
    return [
        (
            row["system"],
            str(row["connections"]),
            f"{row['requests_per_s']:,}",
            row["p50"],
            row["p99"],
            "",
        )
        for row in json.loads(path.read_text())
    ]


def _print(kind: str, rows: Rows, bulk: Rows, limits: Limits) -> None:
    console = Console(width=100)
    console.print(
        f"bench-{kind}, windows of {STEPS}x{FEATURES}, {available_cpus()} processors shared with "
        f"wrk; ONNX Runtime alone: {limits.all_processors:,.0f} windows/s, with its own "
        f"threads {limits.default_threads:,.0f}, one window {limits.alone * 1000:.3f} ms"
    )
    heads = ("one window a request", "connections", "requests/s", "p50 ms", "p99 ms", "of limit")
    for columns, body in (
        (heads, rows),
        (("one request of 512", "ms", "windows/s", "of limit"), bulk),
    ):
        table = Table(box=box.MARKDOWN)
        for place, column in enumerate(columns):
            table.add_column(column, justify="right" if place else "left")
        for row in body:
            table.add_row(*row)
        console.print(table)


if __name__ == "__main__":
    main()
