"""Clients that step sessions in three ways, each step again and again until it is acknowledged."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from benchmarks.crashing.streams import Fault, Stream

WAYS = ("single", "many", "socket")
TIMEOUT = 10.0  # seconds for one request
PATIENCE = 120.0  # seconds for one step, with all its retries
AGAIN = 0.05  # share of the acknowledged steps that are sent once more
PAUSE = 0.2  # seconds before a service that is not there is asked again
BROKEN = (httpx.TransportError, WebSocketException, OSError, TimeoutError)
NOT_NOW = {503, 504}


class Told(NamedTuple):
    """What one step was told: its answer's bytes, or a problem."""

    status: int
    body: bytes
    replayed: bool = False


@dataclass(slots=True)
class Tally:
    """What all clients have met."""

    steps: int = 0  # acknowledged
    again: int = 0  # acknowledged steps that were sent once more and answered alike
    broken: int = 0  # requests without an answer
    refused: Counter[int] = field(default_factory=Counter)  # by status, and sent again
    faults: list[str] = field(default_factory=list)


class Client:
    """Some streams of one model, stepped together until ``stop`` is set."""

    def __init__(
        self,
        streams: Sequence[Stream],
        urls: Sequence[str],
        tally: Tally,
        rng: random.Random,
        pace: float,
    ) -> None:
        self._streams = streams
        self._model = streams[0].model
        self._urls = urls
        self._tally = tally
        self._rng = rng
        self._pace = pace
        self._http = httpx.AsyncClient(timeout=TIMEOUT)
        self._socket: ClientConnection | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Take one step of every stream after the other; a fault ends this client's work."""
        try:
            while not stop.is_set():
                await self._round()
                await asyncio.sleep(self._pace)
        except Fault as fault:
            self._tally.faults.append(str(fault))
        finally:
            await self._hang_up()
            await self._http.aclose()

    async def look(self) -> None:
        """Hold where each session stands against what was acknowledged."""
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            for stream in self._streams:
                answer = await client.get(f"{self._urls[0]}/v1/sessions/{stream.session}")
                told = answer.raise_for_status().json()
                try:
                    stream.stands(told["step"], told["count"])
                except Fault as fault:
                    self._tally.faults.append(str(fault))

    async def _round(self) -> None:
        await self._insist(self._streams, last=False)
        again = [stream for stream in self._streams if self._rng.random() < AGAIN]
        await self._insist(again, last=True)

    async def _insist(self, streams: Sequence[Stream], *, last: bool) -> None:
        """Send the next step of each stream, or its last one once more, until all are answered."""
        left, latest = list(streams), time.monotonic() + PATIENCE
        while left:
            if time.monotonic() > latest:
                raise Fault(f"no answer in {PATIENCE:g} s to {left[0].session}")
            told = await self._ask(left, last=last)
            left = [
                stream
                for stream, each in zip(left, told, strict=True)
                if each is None or not self._heard(stream, each, last=last)
            ]
            if left:
                await asyncio.sleep(PAUSE)

    def _heard(self, stream: Stream, told: Told, *, last: bool) -> bool:
        """Return whether a step is answered; raise Fault for what may never be said."""
        problem = {} if told.status == httpx.codes.OK else orjson.loads(told.body)
        if told.status == httpx.codes.OK and last:
            stream.repeat(told.body, replayed=told.replayed)
            self._tally.again += 1
        elif told.status == httpx.codes.OK:
            stream.acknowledge(told.body, replayed=told.replayed)
            self._tally.steps += 1
        elif told.status in NOT_NOW or problem["type"].endswith(":step-running"):
            self._tally.refused[told.status] += 1
            return False
        else:
            raise Fault(f"step {stream.number} of {stream.session}: {told.body!r}")
        return True

    async def _ask(self, streams: Sequence[Stream], *, last: bool) -> list[Told | None]:
        """Ask any of the services in any way; None for what has no answer."""
        url, way = self._rng.choice(self._urls), self._rng.choice(WAYS)
        numbers = [stream.number - last for stream in streams]
        payloads = [stream.payloads[-1] if last else stream.payload for stream in streams]
        steps = [
            {"session": stream.session, "step": number, "values": payload}
            for stream, number, payload in zip(streams, numbers, payloads, strict=True)
        ]
        if way == "single":
            return list(await asyncio.gather(*(self._single(url, step) for step in steps)))
        try:
            if way == "many":
                return list(await self._many(url, steps))
            return list(await self._by_socket(url, steps))
        except BROKEN:
            self._tally.broken += 1
            await self._hang_up()
            return [None] * len(steps)

    async def _single(self, url: str, step: dict[str, Any]) -> Told | None:
        path = f"{url}/v1/sessions/{step['session']}/steps/{step['step']}"
        try:
            answer = await self._http.post(path, json={"values": step["values"]})
        except BROKEN:
            self._tally.broken += 1
            return None
        return Told(answer.status_code, answer.content, "idempotent-replay" in answer.headers)

    async def _many(self, url: str, steps: list[dict[str, Any]]) -> list[Told]:
        answer = await self._http.post(
            f"{url}/v1/models/{self._model}/steps", json={"steps": steps}
        )
        if answer.status_code != httpx.codes.OK:
            return [Told(answer.status_code, answer.content)] * len(steps)
        text, told = answer.text, []
        place = text.index("[") + 1
        for _ in steps:
            _, end = _JSON.raw_decode(text, place)
            told.append(_item(text[place:end]))
            place = end + 1
        return told

    async def _by_socket(self, url: str, steps: list[dict[str, Any]]) -> list[Told]:
        async with asyncio.timeout(TIMEOUT):
            socket = self._socket
            if socket is None:
                path = f"{url.replace('http', 'ws')}/v1/models/{self._model}/stream"
                socket = self._socket = await connect(path, proxy=None)
            for step in steps:
                await socket.send(json.dumps(step))
            return [_item(str(await socket.recv())) for _ in steps]

    async def _hang_up(self) -> None:
        if self._socket is not None:
            await self._socket.close()
            self._socket = None


_JSON = json.JSONDecoder()
_ANSWER = '"answer":'


def _item(text: str) -> Told:
    """Read what one of many steps was told, its answer in the bytes that came."""
    item = orjson.loads(text)
    if item["status"] != httpx.codes.OK:
        return Told(item["status"], orjson.dumps(item["problem"]))
    body = text[text.index(_ANSWER) + len(_ANSWER) : -1]
    return Told(item["status"], body.encode(), item["replayed"])
