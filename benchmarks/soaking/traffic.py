"""Clients that ask for everything a service has, good and bad, until they are told to stop."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from benchmarks.soaking.calls import GONE, JSON, Call, Model, late, prediction, read, values, wrong

FREQUENCIES = {"1w": "week", "1mo": "month"}  # a card's, in KServe's words
RELOADS = 10.0  # seconds between two


class Traffic:
    """Several clients of one service, and what they have seen."""

    def __init__(self, url: str, clients: int, seed: int) -> None:
        self._url = url
        self._clients = clients
        self._seed = seed
        self.done: Counter[str] = Counter()  # by kind
        self.faults: Counter[str] = Counter()  # answers that are none of the good ones
        self._models: list[Model] = []

    async def run(self) -> None:
        """Ask until cancelled."""
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as client:
            self._models = await _models(client)
            async with asyncio.TaskGroup() as group:
                for number in range(self._clients):
                    group.create_task(self._ask(client, random.Random(self._seed + number)))  # noqa: S311
                group.create_task(self._reload(client))

    @property
    def requests(self) -> int:
        """How many were answered, or left by us."""
        return self.done.total()

    async def _ask(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        ways: dict[Callable[[Model, random.Random], Call], int] = {
            prediction: 60,
            read: 5,
            wrong: 8,
            late: 2,
        }
        others: dict[Callable[[httpx.AsyncClient, Model, random.Random], Awaitable[None]], int] = {
            self._session: 6,
            self._stream: 1,
            self._leave: 3,
        }
        every = [*ways, *others]
        weights = [*ways.values(), *others.values()]
        while True:
            (way,) = chance.choices(range(len(every)), weights)
            model = chance.choice(self._models)
            if way < len(ways):
                await self._send(client, list(ways)[way](model, chance))
            else:
                await list(others)[way - len(ways)](client, model, chance)

    async def _send(self, client: httpx.AsyncClient, call: Call) -> httpx.Response | None:
        try:
            answer = await client.request(
                call.method, call.path, content=call.body, headers=call.headers
            )
        except httpx.TransportError as exc:
            self.faults[f"{call.kind}: {type(exc).__name__}"] += 1
            return None
        self.done[call.kind] += 1
        if answer.status_code not in call.good:
            self.faults[f"{call.kind}: {answer.status_code} {answer.text:.200}"] += 1
        return answer

    async def _session(
        self, client: httpx.AsyncClient, model: Model, chance: random.Random
    ) -> None:
        """Open a session, step it one by one and with others, export, fork, restore, close."""
        path = f"/v1/models/{model.name}/sessions"
        opened = await self._step(client, path, {"values": values(model, chance)}, good=(201,))
        if opened is None:
            return
        session = f"/v1/sessions/{opened['session']}"
        count = chance.randint(1, 6)
        for number in range(1, count + 1):
            body = {"values": [chance.uniform(300, 400)]}
            await self._step(client, f"{session}/steps/{number}", body)
        if chance.random() < 0.5:  # noqa: PLR2004
            one = {"session": opened["session"], "step": count + 1, "values": [350.0]}
            path = f"/v1/models/{model.name}/steps"
            await self._step(client, path, {"steps": [one, one]})
        if chance.random() < 0.3:  # noqa: PLR2004
            answer = await self._send(client, _session_call("GET", f"{session}/state"))
            if answer is not None and answer.is_success:
                await self._send(client, _session_call("PUT", f"{session}/state", answer.content))
            forked = await self._step(client, f"{session}/fork", {}, good=(201,))
            if forked is not None:
                await self._send(
                    client, _session_call("DELETE", f"/v1/sessions/{forked['session']}")
                )
        if chance.random() < 0.9:  # noqa: PLR2004  the others expire
            await self._send(client, _session_call("DELETE", session))

    async def _step(
        self, client: httpx.AsyncClient, path: str, body: object, good: tuple[int, ...] = (200,)
    ) -> dict[str, str] | None:
        content = json.dumps(body).encode()
        call = Call("sessions", "POST", path, content, JSON, good=(*good, 409, *GONE))
        answer = await self._send(client, call)
        found: dict[str, str] | None = None
        if answer is not None and answer.status_code in good:
            found = answer.json()
        return found

    async def _stream(self, client: httpx.AsyncClient, model: Model, chance: random.Random) -> None:
        """Step a session over a WebSocket, and leave with or without a word."""
        path = f"/v1/models/{model.name}/sessions"
        opened = await self._step(client, path, {"values": values(model, chance)}, good=(201,))
        if opened is None:
            return
        address = f"{self._url.replace('http', 'ws', 1)}/v1/models/{model.name}/stream"
        with suppress(WebSocketException, OSError):
            async with connect(address) as socket:
                for number in range(1, 9):
                    step = {"session": opened["session"], "step": number, "values": [350.0]}
                    await socket.send(json.dumps(step))
                for _ in range(chance.choice((8, 8, 3))):
                    await socket.recv()
                if chance.random() < 0.3:  # noqa: PLR2004
                    socket.transport.abort()
        self.done["stream"] += 1
        await self._send(client, _session_call("DELETE", f"/v1/sessions/{opened['session']}"))

    async def _leave(self, _client: httpx.AsyncClient, model: Model, chance: random.Random) -> None:
        """Send a request, or half of one, and go without its answer."""
        call = prediction(model, chance)
        address = urlsplit(self._url)
        headers = "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
        sent = (
            f"POST {call.path} HTTP/1.1\r\nhost: soak\r\n{headers}"
            f"content-length: {len(call.body)}\r\n\r\n"
        ).encode() + call.body
        with suppress(OSError):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(sent[: chance.choice((len(sent), len(sent) // 2, 30))])
            await writer.drain()
            if chance.random() < 0.5:  # noqa: PLR2004
                writer.transport.abort()
            else:
                writer.close()
                await writer.wait_closed()
        self.done["left"] += 1

    async def _reload(self, client: httpx.AsyncClient) -> None:
        """Unload a model and load it again, now and then, each in its turn."""
        while True:
            for model in self._models:
                await asyncio.sleep(RELOADS)
                for change in ("unload", "load"):
                    path = f"/v2/repository/models/{model.name}/{change}"
                    await self._send(client, Call("reload", "POST", path, b"{}", JSON))


def _session_call(method: str, path: str, body: bytes = b"") -> Call:
    return Call("sessions", method, path, body, JSON, good=(200, 204, 404, 409, 410, 503))


async def _models(client: httpx.AsyncClient) -> list[Model]:
    found = []
    for listed in (await client.get("/v1/models")).raise_for_status().json()["models"]:
        card = (await client.get(f"/v1/models/{listed['name']}/card")).raise_for_status().json()
        found.append(
            Model(
                listed["name"],
                card["features"][0],
                FREQUENCIES[card["frequency"]],
                card["horizon"],
                card["min_length"],
                card["max_length"],
            )
        )
    return found
