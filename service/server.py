"""
One process's server: uvicorn's, but for how it begins and how it ends.

uvicorn loads and listens in one step, closes its port at the first SIGTERM, waits for slow
clients as long as they like and then ends by the signal.  Here somebody else says when to
listen and when to stop, a balancer has its time, and the end comes when it was promised.
"""

import asyncio
import gc
import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack

import uvicorn

from service.descriptors import affordable
from service.http.errors import WorkerDied
from service.http.transport.answers import refusal
from service.http.transport.connections import Bounds, Connections
from service.http.transport.protocol import Protocol
from service.http.transport.stopping import STOPPING, Stopping
from service.keeper import Marks
from service.port import Place
from service.repeated import Repeated
from service.settings import Settings

A_LOOK = 0.05  # seconds between looks at who is still there
LAST_WORDS = 0.5  # seconds for those who are cut off to read so
DIED = "The process that was to answer has died; to ask again is safe."
LAST = 2.0  # seconds for the application to end

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Load, listen, stop; in this order, each when called."""

    def __init__(self, settings: Settings, marks: Marks) -> None:
        super().__init__(
            uvicorn.Config(
                "service.http.app:app",
                factory=True,
                lifespan="on",
                ws="service.http.transport.websocket:Protocol",
                ws_max_size=settings.max_body_bytes,
                # A step is small, and each connection would keep tables.
                ws_per_message_deflate=False,
                proxy_headers=False,  # nobody asks here who the client is
                log_config=None,
                log_level=settings.log_level,
                access_log=False,
                server_header=False,
                backlog=settings.backlog,
            )
        )
        self._register = Connections(_bounds(settings))
        self._marks = marks
        self._patience = float(settings.shutdown_timeout_s)
        self._ticking = AsyncExitStack()

    async def load(self) -> None:
        """Start the application; raise SystemExit if it cannot start."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[])  # of uvicorn's two halves only the first has work to do
        self._marks.set_last_words(refusal(WorkerDied(DIED)))
        # What is loaded by now stays, and is much: no collection is to look at it again.
        gc.collect()
        gc.freeze()

    async def listen(self, place: Place) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        await self._tick()
        await self._ticking.enter_async_context(Repeated("tick", self._tick, 1.0))
        for each in place:
            each.setblocking(False)  # noqa: FBT003
            backlog = self.config.backlog
            self.servers.append(
                await loop.create_server(self._connection, sock=each, backlog=backlog)
            )

    async def stop(self, drain: float) -> None:
        """
        Be not ready for ``drain`` seconds, close the port, finish what was accepted, end.

        Who is not finished when the patience ends, counted from now, is refused, and who does
        not read that is cut off.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + self._patience
        stopping: Stopping = self.lifespan.state[STOPPING]
        stopping.begin()
        await asyncio.sleep(min(drain, self._patience))
        for server in self.servers:
            server.close()
        await asyncio.sleep(A_LOOK)  # what the last to be accepted have sent is read
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if not await self._over(end):
            await self._cut_off()
        await self._ticking.aclose()
        await self._end_application()

    def _connection(self) -> Protocol:
        return Protocol(
            self.config, self.server_state, self.lifespan.state, self._register, self._marks
        )

    async def _tick(self) -> None:
        await self.on_tick(0)  # the time of day, for the Date of every answer

    async def _over(self, end: float) -> bool:
        """Wait until every connection and task is over, at most until then; return whether."""
        state, clock = self.server_state, asyncio.get_running_loop().time
        while state.connections or state.tasks:
            if clock() >= end:
                return False
            await asyncio.sleep(A_LOOK)
        return True

    async def _cut_off(self) -> None:
        connections = list(self.server_state.connections)
        log.warning("%d connections are not finished and are cut off.", len(connections))
        for connection in _plain(connections):
            connection.refuse()
        if await self._over(asyncio.get_running_loop().time() + LAST_WORDS):
            return
        for silent in list(self.server_state.connections):
            silent.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()

    async def _end_application(self) -> None:
        try:
            async with asyncio.timeout(LAST):
                await self.lifespan.shutdown()
        except TimeoutError:
            log.error("The application did not end within %.0f s and is left.", LAST)  # noqa: TRY400


def _bounds(settings: Settings) -> Bounds:
    most = affordable(settings.max_connections)
    if most < settings.max_connections:
        log.warning("At most %d connections: more files may not be open.", most)
    return Bounds(
        max_uri_bytes=settings.max_uri_bytes,
        max_header_bytes=settings.max_header_bytes,
        max_headers=settings.max_headers,
        max_chunks=settings.max_chunks,
        head_seconds=settings.head_timeout_s,
        body_seconds=settings.body_timeout_s,
        idle_seconds=settings.keep_alive_s,
        max_connections=most,
    )


def _plain(connections: Iterable[object]) -> list[Protocol]:
    return [each for each in connections if isinstance(each, Protocol)]
