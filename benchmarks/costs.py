"""
What one window costs on its way through the service, part by part, in microseconds.

Each part is the real code, run alone in a loop on real objects; only the socket is missing, and
is the difference between the sum and what a loaded service spends on a request.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import cast

import click
import numpy as np
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table
from uvicorn.config import Config
from uvicorn.server import ServerState

from benchmarks.models import FEATURES, STEPS, published, recipe
from benchmarks.timing import fastest
from models.repository import Repository
from service.engine.admission import check_rows
from service.engine.batcher import Batcher, Slots
from service.engine.catalogue import Which
from service.engine.core import Engine, EngineOptions, LoadedModel
from service.engine.jobs import Answer, Row, Ticket, Timing
from service.http.journal.records import Records, Visit
from service.http.lifetime import HOT_ROUTES
from service.http.meters.metrics import Metrics
from service.http.prediction import WireFormat
from service.http.request.limits import Limits
from service.http.schemas.native import PredictQuery
from service.http.schemas.reply import Reply
from service.http.transport.connections import Bounds, Connections
from service.http.transport.express import Express, HotRoute
from service.http.transport.protocol import EXPRESS, Protocol
from service.keeper import FILES, Marks
from service.memory import Tidy

TOGETHER = 32  # windows in a batch
LIMITS = Limits(max_sequences=1024, max_body_bytes=2**24, request_timeout_ms=30_000)


class Sink(asyncio.Transport):
    """A connection whose answers nobody reads."""

    def __init__(self) -> None:
        super().__init__({"socket": self})

    def fileno(self) -> int:
        return FILES

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 2

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop what is written."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Stay open."""

    def abort(self) -> None:
        """Stay open."""

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Read on."""

    def resume_reading(self) -> None:
        """Read on."""


class Echo:
    """A runner that has its answers ready, so that only the batching around it costs."""

    def __init__(self, answer: Answer) -> None:
        self._answers = [answer] * TOGETHER

    def run(self, rows: Sequence[Row]) -> list[Answer]:
        return self._answers[: len(rows)]


@click.command()
@click.option("--kind", default="lstm", show_default=True)
@click.option("--seconds", default=1.0, show_default=True, help="Length of each measurement.")
def main(kind: str, seconds: float) -> None:
    """Time each part of a prediction."""
    uvloop.run(_measure(kind, seconds))


async def _measure(kind: str, seconds: float) -> None:
    root = published(recipe(kind)).path.parents[1]
    metrics = Metrics()
    async with Engine(Repository(root), EngineOptions("cpu"), metrics.observer) as engine:
        model = cast(LoadedModel, engine.newest(f"bench-{kind}"))
        window = np.random.default_rng(0).normal(size=(STEPS, FEATURES))
        body = json.dumps({"sequences": [np.round(window, 4).tolist()]}, separators=(",", ":"))
        query = PredictQuery(body.encode(), model.card, 1)
        answers, _ = await engine.predict(model, query.rows)
        records = Records(metrics, log_requests=False)
        visit = Visit("id", "POST", "path", "route", 200, 0.001, Timing(0.0, 0.001))
        batch = list(query.rows) * TOGETHER
        parts = {
            "HTTP: parse the request, answer it": await _http(
                model, body.encode(), query, answers, seconds
            ),
            "validation: JSON to float32, all checks": fastest(
                lambda: PredictQuery(body.encode(), model.card, 1), seconds
            ),
            "validation: against the card": fastest(
                lambda: check_rows(query.rows, model.card), seconds
            ),
            "batching: queue, batch, hand back": await _batching(answers[0], batch[0], seconds),
            f"ONNX Runtime, in a batch of {TOGETHER}": fastest(
                lambda: model.batcher._runner.run(batch),  # noqa: SLF001
                seconds,
            )
            / TOGETHER,
            "answer: float32 to JSON": fastest(lambda: query.write(answers, 1), seconds),
            "metrics": fastest(lambda: records.add(visit), seconds),
        }
    _print(kind, parts)


async def _batching(answer: Answer, row: Row, seconds: float) -> float:
    batcher = Batcher(Echo(answer), slots=Slots(inline_seconds=1.0))
    told: list[Ticket] = []
    done = asyncio.Event()

    def tell(ticket: Ticket) -> None:
        told.append(ticket)
        if len(told) == TOGETHER:
            done.set()

    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        told.clear()
        done.clear()
        for _ in range(TOGETHER):
            batcher.submit([row], tell)
        await done.wait()
        best = min(best, (time.perf_counter() - started) / TOGETHER)
    await batcher.close()
    return best


class Written:
    """A query that needs no reading and no writing, so that only HTTP around it costs."""

    timeout: float | None = None

    def __init__(self, rows: Sequence[Row], reply: Reply) -> None:
        self.rows = rows
        self._reply = reply

    def write(self, _answers: Sequence[Answer], _version: int) -> Reply:
        return self._reply


class NoRecords(Records):
    """Records nothing: what that costs is measured by itself."""

    def add(self, visit: Visit) -> None:
        pass


class Answered(Engine):
    """An engine that has the answers ready."""

    def __init__(self, model: LoadedModel, answer: Answer) -> None:
        self._model, self._answer = model, answer
        self._loop = asyncio.get_running_loop()

    def serving(
        self,
        name: str,  # noqa: ARG002
        version: Which = None,  # noqa: ARG002
        key: str | None = None,  # noqa: ARG002
    ) -> LoadedModel:
        return self._model

    def submit(
        self, _model: LoadedModel, rows: Sequence[Row], tell: Callable[[Ticket], None]
    ) -> Ticket:
        ticket = Ticket(rows, 0.0, tell)
        self._loop.call_soon(ticket.resolve, 0, self._answer, 0.0, 0.0, 1)
        return ticket


async def _http(
    model: LoadedModel, body: bytes, query: PredictQuery, answers: list[Answer], seconds: float
) -> float:
    """Time the protocol and the exchange around a prediction that costs nothing."""
    written = Written(query.rows, query.write(answers, 1))
    path = HOT_ROUTES[0].path
    route = HotRoute(path, WireFormat(("application/json",), lambda *_: written))
    nothing = NoRecords(Metrics(), log_requests=False)
    express = Express(Answered(model, answers[0]), LIMITS, nothing, Tidy(), [route])
    config = Config(_no_app, log_config=None, ws="none", interface="asgi3")
    config.load()
    register, marks = Connections(Bounds()), Marks()
    protocols = [
        Protocol(config, ServerState(), {EXPRESS: express}, register, marks)
        for _ in range(TOGETHER)
    ]
    for protocol in protocols:
        protocol.connection_made(Sink())
    head = (
        f"POST {path.replace('{name}', model.entry.name)} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request, best, end = head.encode() + body, float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        for protocol in protocols:
            protocol.data_received(request)
        await asyncio.sleep(0)
        best = min(best, (time.perf_counter() - started) / TOGETHER)
    return best


async def _no_app(_scope: object, _receive: object, _send: object) -> None:
    """Stand where the application would: nothing goes the long way here."""


def _print(kind: str, parts: dict[str, float]) -> None:
    table = Table(title=f"bench-{kind}, one window of {STEPS}x{FEATURES}", box=box.SIMPLE_HEAD)
    table.add_column("part")
    table.add_column("µs", justify="right")
    for part, spent in parts.items():
        table.add_row(part, f"{spent * 1e6:.1f}")
    table.add_section()
    table.add_row("sum", f"{sum(parts.values()) * 1e6:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
