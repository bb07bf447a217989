"""Clients who keep a service waiting, all of them at once: what each was told, and when."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from examples.serving import Served


@dataclass(slots=True)
class Told:
    """All that came until the service closed the connection."""

    data: bytes = b""
    seconds: float = 0.0  # from the first bytes sent to the end
    silence: float = 0.0  # from the last bytes received to the end


@dataclass(frozen=True, slots=True)
class Speech:
    """What a client says, piece by piece, with a pause after each."""

    pieces: Iterable[bytes]
    pause: float = 0.0  # seconds


def told(service: Served, speeches: Mapping[str, Speech]) -> dict[str, Told]:
    """Return what each was told; raise TimeoutError if a connection is not closed in 20 s."""

    async def all_at_once() -> list[Told]:
        async with asyncio.timeout(20):
            return await asyncio.gather(*(_told(service, each) for each in speeches.values()))

    return dict(zip(speeches, asyncio.run(all_at_once()), strict=True))


async def _told(service: Served, speech: Speech) -> Told:
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    told, began = Told(), time.monotonic()
    listening = asyncio.create_task(_listen(reader, told))
    for piece in speech.pieces:
        writer.write(piece)
        await asyncio.wait([listening], timeout=speech.pause)
        if listening.done():
            break
    await listening
    told.seconds = time.monotonic() - began
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return told


async def _listen(reader: asyncio.StreamReader, told: Told) -> None:
    last = time.monotonic()
    with suppress(ConnectionError):  # it was closed while more was said
        while data := await reader.read(65_536):
            told.data, last = told.data + data, time.monotonic()
    told.silence = time.monotonic() - last
