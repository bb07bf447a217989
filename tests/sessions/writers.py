"""Processes that write to a store, for tests that kill them or let them race."""

import asyncio
import os
import sys
from dataclasses import replace

from service.sessions.sqlite import SqliteStore
from service.sessions.store import Change, Stored
from tests.sessions.kept import Clock, record

STREAMS = 20


def state(id_: str, step: int) -> bytes:
    return f"{id_} {step} ".encode() * (100 + step % 100)


def tell(*words: object) -> None:
    """Print a line that is out when this returns."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


async def step(path: str, durability: str) -> None:
    """Take steps of many sessions at once, for ever, and print what is acknowledged."""
    store = SqliteStore(path, durability=durability, clock=Clock())

    async def stream(id_: str) -> None:
        kept = record(id_, state=state(id_, 0))
        change = Change(kept, after=None)
        while await store.write([change]) == [Stored()]:
            tell(id_, kept.step)
            after = kept.step
            kept = replace(kept, step=after + 1, state=state(id_, after + 1))
            change = Change(kept, after)

    await asyncio.gather(*(stream(f"s{n}") for n in range(STREAMS)))


async def race(path: str, last: str) -> None:
    """Take every step of a session up to the last that nobody else takes; print them."""
    store = SqliteStore(path, clock=Clock())
    kept = 0
    while kept < int(last):
        change = Change(record("a", step=kept + 1), after=kept)
        (outcome,) = await store.write([change])
        if outcome == Stored():
            kept += 1
            tell(kept)
        else:
            kept = outcome.step
    await store.close()


if __name__ == "__main__":
    asyncio.run({"step": step, "race": race}[sys.argv[1]](*sys.argv[2:]))
