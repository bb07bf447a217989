"""
Requests/s and latency of the service beside ONNX Runtime alone, in one run, as one table.

The work is that of a small multivariate forecaster: LSTM of 2 layers of 64, one window of 96
steps by 8 features a request (6.6 kB of JSON), 24 steps by 3 targets out.  The load comes from
``wrk`` on the same machine, so the server never has all of its processors.
"""

import json
import re
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from examples.serving import serving
from models.contract import ModelCard
from models.repository import Repository
from service.engine.cpus import available_cpus
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner
from training.export import write_model
from training.networks import Scaling, build
from training.recipe import Recipe

NAME = "bench-lstm"
STEPS, FEATURES, TARGETS, HORIZON = 96, 8, 3, 24
LIMIT_BATCH = 32

console = Console()


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw."""

    requests: float  # per second
    p50: float  # milliseconds
    p99: float


@click.command()
@click.option("--seconds", default=10, show_default=True, help="Length of each measurement.")
@click.option("--connections", default="1,64,256", show_default=True)
@click.option("--workers", default="1,2", show_default=True, help="Numbers of worker processes.")
def main(seconds: int, connections: str, workers: str) -> None:
    """Measure the service on this machine."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise click.ClickException("wrk is needed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        path = _publish(folder / "models")
        body = _write_script(folder / "post.lua")
        table = _table(available_cpus())
        for count in (int(part) for part in workers.split(",")):
            limit = _limit(path, seconds)
            options = ("--models", str(folder / "models"), "--workers", str(count))
            environment = {"SEQSERVE_ACCESS_LOG": "false", "SEQSERVE_PROVIDER": "cpu"}
            with serving(folder / "service.log", *options, environment=environment) as service:
                url = service.url
                _check(url, body)
                for number in (int(part) for part in connections.split(",")):
                    found = _load(wrk, folder / "post.lua", url, number, seconds)
                    table.add_row(
                        str(count),
                        str(number),
                        f"{found.requests:,.0f}",
                        f"{found.p50:.2f}",
                        f"{found.p99:.2f}",
                        f"{limit:,.0f}",
                        f"{found.requests / limit:.2f}",
                    )
        console.print(table)


def _table(cpus: int) -> Table:
    title = f"One window of {STEPS}x{FEATURES} a request, {cpus} processors shared with wrk"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("workers", "connections", "requests/s", "p50 ms", "p99 ms"):
        table.add_column(column, justify="right")
    table.add_column("ONNX Runtime alone, windows/s", justify="right")
    table.add_column("ratio", justify="right")
    return table


def _publish(root: Path) -> Path:
    """Export an untrained network: speed does not depend on the weights."""
    targets = tuple(f"y{number}" for number in range(TARGETS))
    recipe = Recipe.model_validate(
        {
            "name": NAME,
            "horizon": HORIZON,
            "min_length": 1,
            "max_length": STEPS,
            "quantiles": (0.5,),
            "data": {
                "source": "none",
                "time": "ds",
                "targets": targets,
                "features": [f"x{number}" for number in range(FEATURES - TARGETS)],
                "frequency": "1h",
            },
            "network": {"kind": "lstm", "hidden": 64, "layers": 2},
        }
    )
    torch.manual_seed(0)
    scaling = Scaling(np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32))
    network = build(recipe, scaling).eval()
    card = ModelCard(
        name=NAME,
        features=recipe.data.columns,
        targets=targets,
        horizon=HORIZON,
        quantiles=recipe.quantiles,
        frequency=recipe.data.frequency,
        max_length=STEPS,
    )

    def write(path: Path) -> None:
        write_model(network, card, path)

    return Repository(root).publish(NAME, write).path


def _windows(count: int) -> list[Row]:
    random = np.random.default_rng(0)
    return [
        Row(random.normal(size=(STEPS, FEATURES)).astype(np.float32), None, explain=False)
        for _ in range(count)
    ]


def _limit(path: Path, seconds: int) -> float:
    """Return the windows/s of ONNX Runtime alone, one thread a processor."""
    runner, rows = OnnxRunner(path, Device("cpu", "the limit")), _windows(LIMIT_BATCH)
    counts = [0] * available_cpus()
    end = time.perf_counter() + seconds

    def work(place: int) -> None:
        while time.perf_counter() < end:
            runner.run(rows)
            counts[place] += len(rows)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def _write_script(path: Path) -> bytes:
    values = np.round(_windows(1)[0].sequence.astype(float), 4).tolist()
    body = json.dumps({"sequences": [values]})
    path.write_text(
        'wrk.method = "POST"\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [==[{body}]==]\n"
    )
    return body.encode()


def _check(url: str, body: bytes) -> None:
    answer = httpx.post(
        f"{url}/v1/models/{NAME}/predict",
        content=body,
        headers={"content-type": "application/json"},
    )
    mean = answer.raise_for_status().json()["predictions"][0]["mean"]
    if np.shape(mean) != (HORIZON, TARGETS):
        raise click.ClickException(f"The answer has the shape {np.shape(mean)}.")


def _load(wrk: str, script: Path, url: str, connections: int, seconds: int) -> Load:
    command = [wrk, "-t1", f"-c{connections}", "--latency", "--timeout", "10s", "-s", str(script)]
    target = f"{url}/v1/models/{NAME}/predict"
    _ask_wrk([*command, "-d2s", target])  # warm up
    text = _ask_wrk([*command, f"-d{seconds}s", target])
    if "Non-2xx" in text or "Socket errors" in text:
        raise click.ClickException(f"Not every request was answered:\n{text}")
    return Load(
        float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        _milliseconds(_find(r"(?m)^\s+50%\s+(\S+)", text)),
        _milliseconds(_find(r"(?m)^\s+99%\s+(\S+)", text)),
    )


def _ask_wrk(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603


def _find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise click.ClickException(f"wrk said something else:\n{text}")
    return match[1]


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 1e-3), ("ms", 1.0), ("s", 1e3)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise click.ClickException(f"{text!r} is not a time.")


if __name__ == "__main__":
    main()
