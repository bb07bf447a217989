"""A service of several workers under load while versions are published, rolled back and divided."""

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.memory import resident
from benchmarks.reloading.versions import MODEL, adding, answers, rows
from examples.serving import serving
from models.repository import Repository
from service.engine.jobs import Array

KINDS = ("published", "alias moved", "rolled back", "divided", "newest again")
PATIENCE = 60.0  # seconds until all workers must be where they are told to be
SLOW = 6  # clients that send the half of a body, and the rest later
PAUSE = 0.005  # seconds between two requests of one client
STABLE = "stable"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what."""

    reloads: int = 100
    workers: int = 2
    clients: int = 8
    seed: int = 0


@dataclass(slots=True)
class Report:
    """What was seen."""

    reloads: Counter[str] = field(default_factory=Counter)
    versions: Counter[int] = field(default_factory=Counter)  # that answered, how often
    slow: int = 0  # predictions whose body came in two parts
    steps: int = 0  # of sessions
    faults: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)  # of predictions
    seconds: list[float] = field(default_factory=list)  # of a reload, until all workers have it
    memory: list[float] = field(default_factory=list)  # MiB of all workers, after each reload


class Drill:
    """Reloads as a plan says; ``tell`` hears how far it is."""

    def __init__(self, plan: Plan, folder: Path, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._tell = tell
        self._random = random.Random(plan.seed)  # noqa: S311  nothing secret
        self._repository = Repository(folder / "models")
        self._references: dict[int, list[Array]] = {}
        self._asked = rows()
        self._over = asyncio.Event()
        self.report = Report()

    async def run(self) -> Report:
        """Return what was seen; faults among it."""
        first = self._publish()
        environment = {
            "SEQSERVE_VERSION_IDLE_S": "0",  # every reload loads
            "SEQSERVE_WATCH_S": "0.2",
            "SEQSERVE_ACCESS_LOG": "false",
            "SEQSERVE_PROFILE_MS": "100",
            "SEQSERVE_STORE": f"sqlite:///{self._folder}/sessions.db",
        }
        options = ["--models", str(self._repository.root), "--provider", "cpu"]
        options += ["--workers", str(self._plan.workers)]
        log = self._folder / "service.log"
        with serving(log, *options, environment=environment) as service:
            await self._call(service.url, "PUT", f"/aliases/{STABLE}", {"version": first})
            await self._reach(service.url, lambda found: STABLE in found["aliases"])
            async with self._load(service.url):
                for kind in itertools.islice(itertools.cycle(KINDS), self._plan.reloads):
                    await self._reload(service.url, kind)
        return self.report

    @asynccontextmanager
    async def _load(self, url: str) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.clients):
                group.create_task(self._predict(url))
            for _ in range(SLOW):
                group.create_task(self._predict_slowly(url))
            group.create_task(self._step(url))
            yield
            self._over.set()

    def _publish(self) -> int:
        number = len(self._references) + 1
        entry = self._repository.publish(MODEL, adding(number))
        self._references[entry.version] = answers(entry.path)
        return entry.version

    async def _reload(self, url: str, kind: str) -> None:
        started = time.perf_counter()
        newest = max(self._references)
        if kind == "published":
            newest = await asyncio.to_thread(self._publish)
            started = time.perf_counter()
            traffic = {str(newest): 1.0}
        elif kind == "alias moved":
            await self._call(url, "PUT", f"/aliases/{STABLE}", {"version": newest})
            traffic = {str(newest): 1.0}
        elif kind == "rolled back":
            await self._call(url, "POST", "/rollback", {})
            traffic = {str(newest - 1): 1.0}
        elif kind == "divided":
            weights = {STABLE: 1, str(newest - 1): 1}
            await self._call(url, "PUT", "/split", {"weights": weights})
            traffic = {str(newest): 0.5, str(newest - 1): 0.5}
        else:
            await self._call(url, "DELETE", "/split")
            traffic = {str(newest): 1.0}
        aliases = {STABLE: newest if kind != "published" else newest - 1}
        await self._reach(
            url, lambda found: found["traffic"] == traffic and found["aliases"] == aliases
        )
        self.report.seconds.append(time.perf_counter() - started)
        self.report.reloads[kind] += 1
        self._tell(f"{self.report.reloads.total()} {kind}")

    async def _call(self, url: str, method: str, path: str, body: object = None) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            admin = f"{url}/v1/admin/models/{MODEL}{path}"
            answer = await client.request(method, admin, json=body)
        if not answer.is_success:
            self.report.faults.append(f"{method} {path}: {answer.status_code} {answer.text:.300}")

    async def _reach(self, url: str, there: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until every worker says that it is there."""
        arrived: set[int] = set()
        deadline = time.monotonic() + PATIENCE
        while len(arrived) < self._plan.workers:
            async with httpx.AsyncClient(timeout=PATIENCE) as client:  # another worker's, maybe
                found = (await client.get(f"{url}/v1/admin/models/{MODEL}")).json()["in_force"]
            if there(found):
                arrived.add(found["process"])
            elif time.monotonic() > deadline:
                self.report.faults.append(f"after {PATIENCE:g} s a worker has {found}")
                return
            await asyncio.sleep(0.02)
        self.report.memory.append(sum(resident(process) for process in arrived))

    async def _predict(self, url: str) -> None:
        """Ask who serves, and by an alias, over connections that stay and over new ones."""
        paths = [f"{url}/v1/models/{MODEL}{part}/predict" for part in ("", f"/versions/{STABLE}")]
        while not self._over.is_set():
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                for _ in range(self._random.randint(1, 200)):
                    if self._over.is_set():
                        break
                    await self._ask(client, self._random.choice(paths))
                    await asyncio.sleep(PAUSE)

    async def _ask(self, client: httpx.AsyncClient, path: str) -> None:
        place = self._random.randrange(len(self._asked))
        started = time.perf_counter()
        try:
            answer = await client.post(path, json={"sequences": [self._asked[place]]})
        except httpx.TransportError as exc:
            self.report.faults.append(f"{path}: {exc!r}")
            return
        self.report.milliseconds.append((time.perf_counter() - started) * 1000)
        self._check(path, place, answer.status_code, answer.content)

    async def _predict_slowly(self, url: str) -> None:
        """Send bodies in two parts: the version is chosen before the first, asked after both."""
        host, port = url.removeprefix("http://").split(":")
        path = f"/v1/models/{MODEL}/predict"
        while not self._over.is_set():
            place = self._random.randrange(len(self._asked))
            body = json.dumps({"sequences": [self._asked[place]]}).encode()
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head.encode() + body[:50])
            await asyncio.sleep(self._random.uniform(0, 2))
            writer.write(body[50:])
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
            writer.close()
            head_back, _, body_back = answer.partition(b"\r\n\r\n")
            status = int(head_back.split()[1]) if head_back else 0
            self.report.slow += 1
            self._check(path, place, status, body_back)

    def _check(self, path: str, place: int, status: int, body: bytes) -> None:
        """Hold an answer against the version that it names."""
        if status != 200:  # noqa: PLR2004
            self.report.faults.append(f"{path}: {status} {body[:300]!r}")
            return
        found = json.loads(body)
        version = found["version"]
        self.report.versions[version] += 1
        said = np.array(found["predictions"][0]["mean"], np.float32)
        if not np.array_equal(said, self._references[version][place]):
            self.report.faults.append(f"{path}: version {version} would answer something else")

    async def _step(self, url: str) -> None:
        """Open sessions, and step each a while by the version that it was opened with."""
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            while not self._over.is_set():
                place = self._random.randrange(len(self._asked))
                opening = {"values": self._asked[place]}
                opened = await client.post(f"{url}/v1/models/{MODEL}/sessions", json=opening)
                if opened.status_code != 201:  # noqa: PLR2004
                    self.report.faults.append(f"sessions: {opened.status_code} {opened.text:.300}")
                    continue
                session = opened.json()
                for step in range(1, 20):
                    path = f"{url}/v1/sessions/{session['session']}/steps/{step}"
                    taken = await client.post(path, json={"values": [340.0 + step]})
                    if (
                        taken.status_code != 200  # noqa: PLR2004
                        or taken.json()["version"] != session["version"]
                    ):
                        self.report.faults.append(f"steps: {taken.status_code} {taken.text:.300}")
                        break
                    self.report.steps += 1
                    await asyncio.sleep(10 * PAUSE)
