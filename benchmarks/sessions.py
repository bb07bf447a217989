"""How long a store of sessions takes to read and to write, in a file or in a server."""

import asyncio
import gc
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import chain

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from service.engine.cpus import available_cpus
from service.sessions.location import open_store
from service.sessions.records import Record
from service.sessions.schema import Durability
from service.sessions.store import Change, Store, Stored

MANY = 1000  # sessions in one call
TASKS = 64  # callers at once, each with sessions of its own
DAY = 86_400.0
COLUMNS = ("work", "calls/s", "p50 ms", "p95 ms", "p99 ms", "max ms")


class Caller:
    """One who knows what is kept of some sessions; every method returns the seconds of its call."""

    def __init__(self, store: Store, records: list[Record]) -> None:
        self._store = store
        self._records = records
        self._random = random.Random(len(records))  # noqa: S311  nothing is secret

    async def create(self, start: int) -> float:
        return await self._write([(at, None) for at in range(start, start + MANY)])

    async def step(self, count: int) -> float:
        places = self._random.sample(range(len(self._records)), count)
        for at in places:
            before = self._records[at]
            answer = os.urandom(self._random.randint(300, 500))
            now = time.time()
            self._records[at] = replace(
                before, step=before.step + 1, answer=answer, touched=now, expires=now + DAY
            )
        return await self._write([(at, self._records[at].step - 1) for at in places])

    async def read(self, count: int) -> float:
        records = self._random.sample(self._records, count)
        started = time.perf_counter()
        found = await self._store.read([record.id for record in records])
        seconds = time.perf_counter() - started
        if found != records:
            raise click.ClickException("What was read is not what was written.")
        return seconds

    async def _write(self, steps: list[tuple[int, int | None]]) -> float:
        changes = [Change(self._records[at], after) for at, after in steps]
        started = time.perf_counter()
        outcomes = await self._store.write(changes)
        seconds = time.perf_counter() - started
        if any(outcome != Stored() for outcome in outcomes):
            raise click.ClickException("Not every change was stored.")
        return seconds


@click.command()
@click.option("--url", default=None, help="A store's URL; else a new file in this folder.")
@click.option("--durability", type=click.Choice(["process", "power"]), default="process")
@click.option("--thousands", default=50, show_default=True, help="Of sessions.")
@click.option("--size", default=2048, show_default=True, help="Bytes of a state.")
@click.option("--seconds", default=5.0, show_default=True, help="Of each kind of work.")
def main(
    url: str | None, durability: Durability, thousands: int, size: int, seconds: float
) -> None:
    """Print calls/s and quantiles of the time that a call takes, by kind of work."""
    records = [_record(size) for _ in range(MANY * thousands)]
    with tempfile.TemporaryDirectory(dir=".") as folder:
        place = url or f"sqlite:///{folder}/sessions.db"
        found = asyncio.run(_measure(place, durability, records, seconds))
    kind = place.partition(":")[0] + (f", {durability}" if url is None else "")
    title = f"{kind}; {len(records):,} sessions of {size} bytes; {available_cpus()} processors"
    table = Table(box=box.MARKDOWN, title=title)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "work" else "right")
    for work, (times, rate) in found.items():
        quantiles = [f"{1000 * each:.2f}" for each in np.quantile(times, [0.5, 0.95, 0.99, 1])]
        table.add_row(work, f"{rate:,.0f}", *quantiles)
    Console(width=110).print(table)


async def _measure(
    url: str, durability: Durability, records: list[Record], seconds: float
) -> dict[str, tuple[list[float], float]]:
    """Return, for each kind of work, the seconds of its calls, and how many a second had."""
    store = open_store(url, durability=durability)
    gc.freeze()  # or Python's collector is what is measured
    alone = Caller(store, records)
    times = [await alone.create(start) for start in range(0, len(records), MANY)]
    found = {f"create {MANY:,}": (times, len(times) / sum(times))}
    for work, call, count in (
        ("read one", alone.read, 1),
        (f"read {MANY:,}", alone.read, MANY),
        ("step of one", alone.step, 1),
        (f"steps of {MANY:,}", alone.step, MANY),
    ):
        found[work] = await _repeat([call], count, seconds)
    crowd = [Caller(store, records[n::TASKS]) for n in range(TASKS)]
    calls = [caller.step for caller in crowd]
    found[f"step of one, {TASKS} callers"] = await _repeat(calls, 1, seconds)
    await store.close_sessions([record.id for record in records])
    await store.close()
    return found


async def _repeat(
    calls: Sequence[Callable[[int], Awaitable[float]]], count: int, seconds: float
) -> tuple[list[float], float]:
    """Make all calls at the same time, each again and again."""
    started = time.perf_counter()

    async def repeat(call: Callable[[int], Awaitable[float]]) -> list[float]:
        times = []
        while time.perf_counter() < started + seconds:
            times.append(await call(count))
        return times

    times = list(chain(*await asyncio.gather(*map(repeat, calls))))
    return times, len(times) / (time.perf_counter() - started)


def _record(size: int) -> Record:
    now = time.time()
    return Record(
        id=os.urandom(16).hex(),
        tenant="one",
        model="bench-lstm",
        version=1,
        model_hash="5e" * 32,
        step=0,
        state=os.urandom(size),
        request=os.urandom(32),
        answer=os.urandom(400),
        created=now,
        touched=now,
        expires=now + DAY,
    )


if __name__ == "__main__":
    main()
