"""A service and a Redis server in processes of their own: started, killed, started again."""

import asyncio
import os
import random
import shutil
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path

import httpx

from benchmarks.crashing.points import PASSES, POINT, POINTS
from examples.serving import NotStarted, free_port

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds for a start, for an end, and for a point to be passed
MOST_PASSES = 40
RANDOM, STARTING = "random", "starting"  # kills that come from without
LATEST = {RANDOM: 0.3, STARTING: 1.5}  # seconds after it was ready, and after it was started
PLACES = (*POINTS, RANDOM, STARTING)


class _Process:
    """One process at a time; its output is added to a file."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: Process | None = None

    @property
    def running(self) -> Process:
        """The process; raise NotStarted when it has ended by itself."""
        if self._process is None or self._process.returncode is not None:
            raise NotStarted(self.log.read_text())
        return self._process

    async def spawn(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        with self.log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdout=out,
                stderr=out,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
            )

    async def end(self, number: int = signal.SIGKILL) -> int:
        """Send a signal, if it is not too late, and return how the process ended."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        return await asyncio.wait_for(process.wait(), PATIENCE)


class Service(_Process):
    """A service on a port of its own, which stays the same from life to life."""

    def __init__(self, folder: Path, number: int, settings: Mapping[str, str]) -> None:
        super().__init__(folder / f"service-{number}.log")
        self._settings = settings
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.place = ""
        self._spawned = 0.0

    async def start(self, place: str = "", passes: int = 1) -> None:
        """Begin a life that is to end at a place; do not wait."""
        self.place = place
        environment = {**self._settings, POINT: place, PASSES: str(passes)}
        module = "benchmarks.crashing.service"
        self._spawned = time.perf_counter()
        await self.spawn(
            sys.executable,
            "-m",
            module,
            "serve",
            "--port",
            str(self._port),
            environment=environment,
        )

    async def ready(self) -> float:
        """Wait until it is ready; return the seconds since it was started.  Raise NotStarted."""
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE) as client:
            while time.perf_counter() < self._spawned + PATIENCE:
                _ = self.running
                try:
                    if (await client.get("/health/ready")).is_success:
                        return time.perf_counter() - self._spawned
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.02)
        raise NotStarted(self.log.read_text())

    async def die(self, rng: random.Random) -> bool:
        """End a life where it is to end; return whether that place was reached in time."""
        if self.place == STARTING:
            await self.end()
            await self.start(STARTING)
        if self.place in {RANDOM, STARTING}:
            await asyncio.sleep(rng.uniform(0, LATEST[self.place]))
            await self.end()
            return True
        self.running.send_signal(signal.SIGUSR1)
        try:
            await asyncio.wait_for(self.running.wait(), PATIENCE)
        except TimeoutError:
            await self.end()
            return False
        return True


class Redis(_Process):
    """A Redis server that has written a change to its file before it answers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "redis.log")
        program = shutil.which("redis-server")
        if program is None:
            raise FileNotFoundError("redis-server is not installed")
        socket = folder / "redis.socket"
        self.url = f"unix://{socket}"
        self._command = [program, "--port", "0", "--unixsocket", str(socket)]
        self._command += ["--dir", str(folder), "--save", "", "--daemonize", "no"]
        self._command += ["--appendonly", "yes", "--appendfsync", "always"]

    async def start(self) -> None:
        await self.spawn(*self._command)
