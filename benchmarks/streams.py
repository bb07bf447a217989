"""Steps of sessions a second, with durable state, beside sending the whole window again."""

import asyncio
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.models import STREAMS, published, stream_recipe
from examples.serving import serving
from service.engine.cpus import available_cpus

CALM = {"SEQSERVE_ACCESS_LOG": "false", "SEQSERVE_LOG_LEVEL": "warning"}
WINDOWS = (96, 2_048)
SESSIONS = 512
BATCH = 64  # windows in a request
AT_ONCE = 2  # requests
HALF = SESSIONS // AT_ONCE
Rows = list[tuple[str, float, float, float]]  # name, answers/s, p50 and p99 ms of a call


class Caller:
    """One client with many sessions, each of which is at the same step."""

    def __init__(self, url: str, client: httpx.AsyncClient, model: str) -> None:
        self._url = url
        self._client = client
        self._model = f"/v1/models/{model}"
        self._sessions: list[str] = []
        self._step = 0

    async def open(self) -> None:
        """Open the sessions, each with a history of one window."""
        body = orjson.dumps({"values": series(96)})
        for _ in range(SESSIONS):
            answer = await self._post(f"{self._model}/sessions", body)
            self._sessions.append(answer["session"])

    async def windows(self, length: int, seconds: float) -> list[float]:
        """Send whole windows, several requests at once; return the seconds of each."""
        body = orjson.dumps({"sequences": [series(length, seed) for seed in range(BATCH)]})
        path = f"{self._model}/predict"

        async def one() -> None:
            await self._post(path, body)

        return await repeated(one, seconds, AT_ONCE)

    async def batched(self, seconds: float) -> list[float]:
        """Step half of the sessions in a request, two requests at once, over and over."""
        groups = iter([self._sessions[:HALF], self._sessions[HALF:]])
        numbers = [self._step, self._step]

        async def worker(place: int, sessions: Sequence[str]) -> list[float]:
            async def turn() -> None:
                numbers[place] += 1
                await self._turn(sessions, numbers[place])

            return await repeated(turn, seconds, 1)

        spent = await asyncio.gather(*(worker(place, next(groups)) for place in range(AT_ONCE)))
        for place, number in enumerate(numbers):  # all stand at the same step again
            for missing in range(number + 1, max(numbers) + 1):
                await self._turn(self._sessions[place * HALF : (place + 1) * HALF], missing)
        self._step = max(numbers)
        return [one for each in spent for one in each]

    async def single(self, seconds: float) -> list[float]:
        """Step one session after the other, a request each; return the seconds of each."""
        path = "/v1/sessions/{}/steps/{}"
        spent, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            self._step += 1
            for session in self._sessions:
                began = time.perf_counter()
                await self._post(path.format(session, self._step), b'{"values":[0.5]}')
                spent.append(time.perf_counter() - began)
        return spent

    async def stream(self, seconds: float) -> list[float]:
        """Step over one WebSocket, each session again when it is answered; return the seconds."""
        url = self._url.replace("http", "ws") + f"{self._model}/stream"
        spent: list[float] = []
        async with connect(url, compression=None, max_queue=None) as socket:
            sent: deque[tuple[str, float]] = deque()
            numbers = dict.fromkeys(self._sessions, self._step)
            for session in self._sessions:
                await self._send(socket, session, numbers, sent)
            end = time.perf_counter() + seconds
            while sent:
                told = await socket.recv(decode=False)
                session, began = sent.popleft()  # answers come in the order asked
                spent.append(time.perf_counter() - began)
                if not told.startswith(b'{"status":200'):
                    raise click.ClickException(f"A step was refused: {told[:300]!r}")
                if time.perf_counter() < end or numbers[session] < max(numbers.values()):
                    await self._send(socket, session, numbers, sent)
            self._step = max(numbers.values())
        return spent

    async def _send(
        self,
        socket: ClientConnection,
        session: str,
        numbers: dict[str, int],
        sent: deque[tuple[str, float]],
    ) -> None:
        numbers[session] += 1
        sent.append((session, time.perf_counter()))
        await socket.send(
            f'{{"session":"{session}","step":{numbers[session]},"values":[0.5]}}', text=True
        )

    async def _turn(self, sessions: Sequence[str], step: int) -> None:
        steps = ",".join(
            f'{{"session":"{session}","step":{step},"values":[0.5]}}' for session in sessions
        )
        answer = await self._post(f"{self._model}/steps", f'{{"steps":[{steps}]}}'.encode())
        if any(one["status"] != 200 for one in answer["answers"]):  # noqa: PLR2004
            raise click.ClickException("A step was refused.")

    async def _post(self, path: str, body: bytes) -> Any:  # noqa: ANN401  JSON
        answer = await self._client.post(
            path, content=body, headers={"content-type": "application/json"}
        )
        answer.raise_for_status()
        return orjson.loads(answer.content)


async def repeated(
    work: Callable[[], Awaitable[None]], seconds: float, at_once: int
) -> list[float]:
    """Do a work over and over, several at once; return the seconds of each."""
    spent: list[float] = []
    end = time.perf_counter() + seconds

    async def worker() -> None:
        while time.perf_counter() < end:
            began = time.perf_counter()
            await work()
            spent.append(time.perf_counter() - began)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return spent


def series(length: int, seed: int = 0) -> list[float]:
    """Return numbers as a sensor sends them."""
    walk = np.random.default_rng(seed).normal(size=length).cumsum() / 10
    return [round(value, 3) for value in walk.tolist()]


async def compare(url: str, model: str, seconds: float) -> Rows:
    """Measure every way of asking, one after the other."""
    rows: Rows = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        caller = Caller(url, client, model)
        await caller.open()
        for length in WINDOWS:
            began = time.perf_counter()
            spent = await caller.windows(length, seconds)
            rows.append(row(f"windows of {length}, {BATCH} a request", spent, BATCH, began))
        for name, work, count in (
            (
                f"steps of {HALF} sessions a request",
                caller.batched,
                HALF,
            ),
            (f"steps over one WebSocket, {SESSIONS} on their way", caller.stream, 1),
            ("one step a request, one after the other", caller.single, 1),
        ):
            began = time.perf_counter()
            spent = await work(seconds)
            rows.append(row(name, spent, count, began))
        told = (await client.get("/metrics")).text
    parts = {
        line.split('"')[1]: float(line.split()[-1])
        for line in told.splitlines()
        if line.startswith("seqserve_session_seconds_total{")
    }
    click.echo(
        f"Of the time of the steps the store took {parts['store'] / sum(parts.values()):.0%}."
    )
    return rows


def row(
    name: str, spent: list[float], answers: int, began: float
) -> tuple[str, float, float, float]:
    """Return what calls of so many answers each have shown."""
    rate = len(spent) * answers / (time.perf_counter() - began)
    cuts = statistics.quantiles(spent, n=100) if len(spent) > 1 else [spent[0]] * 99
    return name, rate, cuts[49] * 1000, cuts[98] * 1000


@click.command()
@click.option("--seconds", default=5.0, show_default=True, help="Time for each way of asking.")
@click.option("--store", default=None, help="Where sessions are kept; a file of its own if absent.")
@click.option("--hidden", type=click.Choice(STREAMS), default=64, show_default=True)
@click.option("--durability", default="process", show_default=True)
def main(seconds: float, store: str | None, hidden: int, durability: str) -> None:
    """Serve a recurrent model of two layers, untrained, and ask it in every way."""
    entry = published(stream_recipe(hidden))
    models = entry.path.parents[1]
    with tempfile.TemporaryDirectory() as folder:
        chosen = {
            "SEQSERVE_STORE": store or f"sqlite:///{folder}/sessions.db",
            "SEQSERVE_DURABILITY": durability,
        }
        log = Path(folder, "service.log")
        with serving(log, "--models", str(models), environment=CALM | chosen) as service:
            rows = asyncio.run(compare(service.url, entry.name, seconds))
    table = Table("way", "answers/s", "p50 ms", "p99 ms", "x 96", "x 2,048", box=box.MARKDOWN)
    short, long = rows[0][1], rows[1][1]
    for name, rate, p50, p99 in rows:
        cells = f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}", f"{rate / short:.1f}"
        table.add_row(name, *cells, f"{rate / long:.1f}")
    Console(width=140).print(table)
    click.echo(f"2 x {hidden}, {available_cpus()} processors, durability {durability}")


if __name__ == "__main__":
    main()
