"""A drill: services are killed one after the other while clients step; then all is compared."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.crashing.clients import Client, Tally
from benchmarks.crashing.processes import MOST_PASSES, PLACES, Redis, Service
from benchmarks.crashing.references import Reference, Verdict, series
from benchmarks.crashing.streams import Stream

GROUP = 5  # streams of one client
GRACE = 60.0  # seconds beyond which clients that were told to stop are not waited for
CALM = {
    "SEQSERVE_ACCESS_LOG": "false",
    "SEQSERVE_PROVIDER": "cpu",
    "SEQSERVE_THREADS": "1",
    "SEQSERVE_PROFILE_MS": "0",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is killed and stepped, and what is started anew in between."""

    kills: int
    steps: int  # acknowledged, at least
    sessions: int = 50
    services: int = 1
    seed: int = 0
    pace: float = 0.0  # seconds that a client rests after each round of steps
    rolling: int = 0  # kills from one rolling restart to the next; 0: none
    redis: int = 0  # kills of services from one kill of Redis to the next; 0: no Redis, but SQLite


@dataclass(slots=True)
class Report:
    """What a drill has seen."""

    tally: Tally
    kills: Counter[str] = field(default_factory=Counter)  # by place
    unreached: Counter[str] = field(default_factory=Counter)  # killed from without, after all
    redis_kills: int = 0
    rolled: int = 0  # services that were told to end, and did so in order
    starts: list[float] = field(default_factory=list)  # seconds until ready
    replays: int = 0  # steps that were stored when their client had heard nothing
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def faults(self) -> list[str]:
        """Every way in which the promise was broken."""
        wrong = [
            f"{name}: {verdict.wrong} of {verdict.answers} answers are wrong"
            for name, verdict in self.verdicts.items()
            if verdict.wrong
        ]
        return [*self.tally.faults, *wrong]


class Drill:
    """Services on one store, the clients that step its sessions, and the order of the kills."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        references: Sequence[Reference],
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._redis = Redis(folder) if plan.redis else None
        store = self._redis.url if self._redis else f"sqlite:///{folder / 'sessions.db'}"
        settings = CALM | {
            "SEQSERVE_MODELS": str(folder / "models"),
            "SEQSERVE_CACHE": str(folder / "cache"),
            "SEQSERVE_STORE": store,
        }
        self._plan = plan
        self._references = references
        self._say = say
        self._rng = random.Random(plan.seed)  # noqa: S311  nothing secret
        self._places = self._shuffled()
        self._services = [Service(folder, n, settings) for n in range(plan.services)]
        self.report = Report(Tally())

    async def run(self) -> Report:
        """Kill, step, compare; what was started is ended, whatever happens."""
        began = time.perf_counter()
        try:
            if self._redis is not None:
                await self._redis.start()
            for service in self._services:
                await self._begin(service)
            streams = await self._open()
            clients = self._clients(streams)
            await self._step(clients)
            for client in clients:
                await client.look()
            for reference in self._references:
                own = [stream for stream in streams if stream.model == reference.name]
                url = self._services[0].url
                self.report.verdicts[reference.name] = await reference.judge(own, url)
            self.report.replays = sum(stream.replays for stream in streams)
        finally:
            for process in [*self._services, *([self._redis] if self._redis else [])]:
                await process.end()
        self.report.seconds = time.perf_counter() - began
        return self.report

    def _shuffled(self) -> Iterator[str]:
        """Yield the places for ever: each of them once, in any order, then again."""
        while True:
            yield from self._rng.sample(PLACES, len(PLACES))

    async def _begin(self, service: Service) -> None:
        """Start a life, armed for the next place, and wait until it is ready."""
        await service.start(next(self._places), self._rng.randint(1, MOST_PASSES))
        self.report.starts.append(await service.ready())

    async def _open(self) -> list[Stream]:
        """Open the sessions, as many of each model, and empty."""
        streams = []
        async with httpx.AsyncClient(base_url=self._services[0].url, timeout=60) as client:
            for number in range(self._plan.sessions):
                model = self._references[number // GROUP % len(self._references)].name
                answer = await client.post(f"/v1/models/{model}/sessions", json={})
                session = answer.raise_for_status().json()["session"]
                rng = random.Random(self._rng.random())  # noqa: S311
                streams.append(Stream(session, model, series(rng)))
        return streams

    def _clients(self, streams: Sequence[Stream]) -> list[Client]:
        urls = [service.url for service in self._services]
        return [
            Client(
                streams[begin : begin + GROUP],
                urls,
                self.report.tally,
                random.Random(self._rng.random()),  # noqa: S311
                self._plan.pace,
            )
            for begin in range(0, len(streams), GROUP)
        ]

    async def _step(self, clients: Sequence[Client]) -> None:
        """Let the clients step until there were kills and steps enough."""
        stop = asyncio.Event()
        tasks = [asyncio.create_task(client.run(stop)) for client in clients]
        try:
            for number in range(self._plan.kills):
                await self._kill(number)
                if any(task.done() for task in tasks):  # a fault
                    return
            while self.report.tally.steps < self._plan.steps:
                await asyncio.sleep(0.1)
                if any(task.done() for task in tasks):
                    return
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*tasks), GRACE)

    async def _kill(self, number: int) -> None:
        """Kill one service and start it again; now and then restart the others, or Redis."""
        plan, report = self._plan, self.report
        if self._redis is not None and number % plan.redis == plan.redis - 1:
            await self._redis.end()
            await self._redis.start()
            report.redis_kills += 1
        if plan.rolling and number % plan.rolling == plan.rolling - 1:
            for service in self._services:
                await self._roll(service)
        service = self._services[number % len(self._services)]
        reached = await service.die(self._rng)
        report.kills[service.place] += 1
        report.unreached[service.place] += not reached
        await self._begin(service)
        if (number + 1) % _OFTEN == 0:
            self._say(
                f"{number + 1} kills, {report.tally.steps:,} steps acknowledged, "
                f"slowest start {max(report.starts):.1f} s, {len(report.tally.faults)} faults"
            )

    async def _roll(self, service: Service) -> None:
        """Ask a service to end, and start it again."""
        code = await service.end(signal.SIGTERM)
        if code not in {0, -signal.SIGTERM}:
            self.report.tally.faults.append(f"{service.url} ended with {code}")
        self.report.rolled += 1
        await self._begin(service)


_OFTEN = 25
