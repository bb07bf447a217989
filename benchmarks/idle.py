"""What sessions that nobody steps cost the service: memory, disk, and the steps of others."""

import asyncio
import tempfile
import time
from pathlib import Path

import click
import httpx

from benchmarks.memory import MIB, resident
from benchmarks.models import published, stream_recipe
from benchmarks.streams import CALM, series
from examples.serving import serving

AT_ONCE = 16


@click.command()
@click.option("--thousands", default=100, show_default=True, help="Sessions to open.")
@click.option("--history", default=48, show_default=True, help="Steps that each has read.")
def main(thousands: int, history: int) -> None:
    """Open sessions of a recurrent model, each with a history, and look what is kept where."""
    entry = published(stream_recipe(64))
    with tempfile.TemporaryDirectory() as folder:
        place, models = Path(folder, "sessions.db"), str(entry.path.parents[1])
        chosen = CALM | {
            "SEQSERVE_STORE": f"sqlite:///{place}",
            "SEQSERVE_MAX_TENANT_SESSIONS": "1000000",
        }
        with serving(Path(folder, "log"), "--models", models, environment=chosen) as service:
            path, body = f"/v1/models/{entry.name}/sessions", {"values": series(history)}
            for part in range(10):
                began = time.perf_counter()
                asyncio.run(_open(service.url + path, body, thousands * 100))
                rate = thousands * 100 / (time.perf_counter() - began)
                files = sum(each.stat().st_size for each in place.parent.glob("sessions.db*"))
                used = resident(*service.workers())
                click.echo(
                    f"{(part + 1) * thousands * 100:,} sessions: "
                    f"{used:.0f} MiB of memory, {files / MIB:.0f} MiB of files, "
                    f"{rate:.0f} opened a second"
                )


async def _open(url: str, body: dict[str, list[float]], count: int) -> None:
    """Open so many sessions, several at once."""
    left = iter(range(count))
    async with httpx.AsyncClient(timeout=60) as client:

        async def some() -> None:
            for _ in left:
                (await client.post(url, json=body)).raise_for_status()

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    main()
