"""
Ten thousand connections that never finish a request, and what good clients notice of them.

They open, send half a head and wait; wrk asks for predictions on connections of its own before,
while and after.  Everything shares this machine's processors, the attackers too, so that beside
the requests a second it is said what a second of the service's own processor time was worth.
"""

import asyncio
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple, cast

import click
import httpx
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.http import CALM, json_body, windows
from benchmarks.load import Load, measure
from benchmarks.models import published, recipe
from benchmarks.overload import processor_seconds
from examples.serving import Served, serving
from service.descriptors import raise_limit

HALF = b"POST /v1/models/bench-lstm/predict HTTP/1.1\r\nHost: x\r\n"
WARM_UP = 1.0  # seconds that wrk takes before it counts
PROMISED = 35.0  # seconds in which all must be closed
SHARE = 0.9  # of the answers that a second of the processor is worth, for good clients
CROWDED = 15  # seconds that good clients are measured beside the crowd
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # to make one each time would take longer
BURST = 100  # connections that are opened together


@dataclass
class Crowd:
    """The half-open connections, and how each ended."""

    opened: list[float] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)
    answers: dict[bytes, int] = field(default_factory=dict)
    failed: int = 0


class Seen(NamedTuple):
    """What good clients saw, and how many answers a second of processor time was worth."""

    load: Load
    worth: float


class HalfOpen(asyncio.Protocol):
    """A client who sends half a head."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._said = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._crowd.opened.append(time.monotonic())
        cast(asyncio.Transport, transport).write(HALF)

    def data_received(self, data: bytes) -> None:
        self._said += data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._crowd.closed.append(time.monotonic())
        status = self._said[9:12] or b"none"
        self._crowd.answers[status] = self._crowd.answers.get(status, 0) + 1


@click.command()
@click.option("--count", default=10_000, show_default=True, help="Half-open connections.")
@click.option("--good", default=64, show_default=True, help="Connections of good clients.")
@click.option("--seconds", default=5, show_default=True, help="Length of the measurements beside.")
@click.option("--workers", default=1, show_default=True)
@click.option("--every", default=0.0, show_default=True, help="Seconds between bursts of 100.")
def main(count: int, good: int, seconds: int, workers: int, every: float) -> None:
    """Measure good clients alone, in the crowd, and alone again; ends with 1 if they suffer."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise click.ClickException("wrk is needed: apt-get install wrk")
    raise_limit()
    models, body = published(recipe("lstm")).path.parents[1], json_body(windows(1))
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        options = ("--models", str(models), "--workers", str(workers))
        with serving(folder / "log", *options, environment=CALM) as service:
            path = f"{service.url}/v1/models/bench-lstm/predict"

            def load(length: int) -> Seen:
                busy, began = _busy(service), time.monotonic()
                found = measure(wrk, folder, path, body, good, length)
                share = (_busy(service) - busy) / (time.monotonic() - began)
                return Seen(found, found.requests / share)

            before = load(seconds)
            crowded, crowd, health = uvloop.run(_crowded(service, load, count, every))
            after = load(seconds)
    _print(count, (before, crowded, after), crowd, health)
    missed = list(broken((before, crowded, after), crowd))
    for each in missed:
        click.echo(f"not as promised: {each}")
    if missed:
        sys.exit(1)


def broken(seen: tuple[Seen, Seen, Seen], crowd: Crowd) -> Iterator[str]:
    """Yield what of the promises does not hold, with both figures."""
    left = len(crowd.opened) - len(crowd.closed)
    if left:
        yield f"{left:,} half-open connections are open still"
    last = max(crowd.closed, default=0.0) - min(crowd.opened)
    if last > PROMISED:
        yield f"the last half-open connection was closed after {last:.1f} s, not {PROMISED:g}"
    before, crowded, after = seen
    share = 2 * crowded.worth / (before.worth + after.worth)
    if share < SHARE:
        yield f"good clients had {share:.2f} of what they have alone, not {SHARE}"


def _busy(service: Served) -> float:
    """Return the seconds of processor time that the workers have taken."""
    return sum(map(processor_seconds, service.workers()))


async def _crowded(
    service: Served, load: Callable[[int], Seen], count: int, every: float
) -> tuple[Seen, Crowd, list[float]]:
    """Measure good clients while the crowd comes, waits and is closed."""
    crowd, health = Crowd(), list[float]()
    measuring = asyncio.create_task(asyncio.to_thread(load, CROWDED))
    await asyncio.sleep(WARM_UP)
    asking = asyncio.create_task(_ask_for_health(service.url, health))
    await _open(service.url, crowd, count, every)
    end = time.monotonic() + PROMISED + 10
    while len(crowd.closed) < len(crowd.opened) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # ten thousand of them set no event each
    asking.cancel()
    return await measuring, crowd, health


async def _open(url: str, crowd: Crowd, count: int, every: float) -> None:
    host, port = url.removeprefix("http://").split(":")
    loop = asyncio.get_running_loop()
    for begin in range(0, count, BURST):
        opening = [
            loop.create_connection(lambda: HalfOpen(crowd), host, int(port))
            for _ in range(min(BURST, count - begin))
        ]
        ended = await asyncio.gather(*opening, return_exceptions=True)
        crowd.failed += sum(isinstance(each, OSError) for each in ended)
        await asyncio.sleep(every)


async def _ask_for_health(url: str, seconds: list[float]) -> None:
    """Time the answers of a new connection, five times a second."""
    while True:
        async with httpx.AsyncClient(timeout=30, verify=PLAIN) as client:
            began = time.monotonic()
            (await client.get(f"{url}/health/live")).raise_for_status()
            seconds.append(time.monotonic() - began)
        await asyncio.sleep(0.2)


def _print(count: int, seen: tuple[Seen, Seen, Seen], crowd: Crowd, health: list[float]) -> None:
    console, table = Console(width=100), Table(box=box.MARKDOWN)
    heads = ("good clients", "requests/s", "p50 ms", "p99 ms", "answers/CPU second", "of alone")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left")
    before, _, after = seen
    alone = (before.worth + after.worth) / 2
    names = ("alone, before", f"beside {count:,} half-open", "alone, after")
    for name, (load, worth) in zip(names, seen, strict=True):
        late = f"{load.p50:.2f}", f"{load.p99:.2f}"
        table.add_row(name, f"{load.requests:,.0f}", *late, f"{worth:,.0f}", f"{worth / alone:.2f}")
    console.print(table)
    ages = [closed - crowd.opened[0] for closed in sorted(crowd.closed)]
    answers = ", ".join(f"{key.decode()}: {crowd.answers[key]:,}" for key in sorted(crowd.answers))
    console.print(
        f"{len(crowd.opened):,} opened in {crowd.opened[-1] - crowd.opened[0]:.1f} s, "
        f"{crowd.failed:,} not; {len(ages):,} closed, the first after {ages[0]:.1f} s and the last "
        f"after {ages[-1]:.1f} s; answers {answers}; health on {len(health)} new connections: "
        f"median {1000 * median(health):.0f} ms, worst {1000 * max(health):.0f} ms"
    )


if __name__ == "__main__":
    main()
