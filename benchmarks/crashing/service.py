"""
``seqserve serve`` in a process that kills itself at a named point; started by ``processes`` alone.

The service knows no such points: its store and its application are wrapped here, before the
server takes them.  SIGUSR1 begins the count of passes, so that a service may start undisturbed.
"""

import os
import random
import signal
import threading
from collections.abc import Callable, Sequence
from typing import ParamSpec
from unittest.mock import patch

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from benchmarks.crashing.points import PASSES, POINT, Point
from service import cli, settings
from service.http import app as http_app
from service.sessions.location import open_store
from service.sessions.records import Found
from service.sessions.store import Change, Outcome, Store, Usage
from service.worker import alone

Given = ParamSpec("Given")

WITHIN = 0.003  # seconds in which a transaction is cut off


def die() -> None:
    """End this process as a crash would: nothing is flushed, closed or told."""
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Say at which pass of which point this process ends."""

    def __init__(self, point: str, passes: int) -> None:
        self._point = point
        self._left = passes
        self._armed = False

    def arm(self, *_: object) -> None:
        """Count from now on; a signal handler."""
        self._armed = True

    def passing(self, point: Point, end: Callable[[], None] = die) -> None:
        """Come by a point; ``end`` is called at the last pass."""
        if self._armed and point == self._point:
            self._left -= 1
            if self._left == 0:
                end()


class CrashingStore:
    """A store, and the points around its reads and writes."""

    def __init__(self, store: Store, countdown: Countdown) -> None:
        self._store = store
        self._passing = countdown.passing

    async def read(self, ids: Sequence[str]) -> list[Found]:
        found = await self._store.read(ids)
        self._passing("read")
        return found

    async def write(self, changes: Sequence[Change]) -> list[Outcome]:
        self._passing("computed")
        self._passing("writing", _die_soon)
        outcomes = await self._store.write(changes)
        self._passing("written")
        return outcomes

    async def close_sessions(self, ids: Sequence[str]) -> None:
        await self._store.close_sessions(ids)

    async def expire(self, now: float, limit: int) -> int:
        return await self._store.expire(now, limit)

    async def usage(self, tenant: str | None = None) -> Usage:
        return await self._store.usage(tenant)

    async def secret(self) -> bytes:
        return await self._store.secret()

    async def ready(self) -> bool:
        return await self._store.ready()

    async def close(self) -> None:
        await self._store.close()


class CrashingApp:
    """An ASGI application, and the points at both ends of what is said about steps."""

    def __init__(self, app: ASGIApp, countdown: Countdown) -> None:
        self._app = app
        self._passing = countdown.passing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not {"steps", "stream"} & set(scope.get("path", "").split("/")):
            await self._app(scope, receive, send)
            return

        async def received() -> Message:
            message = await receive()
            whole = message["type"] == "http.request" and not message.get("more_body")
            if whole or message["type"] == "websocket.receive":
                self._passing("received")
            return message

        async def sent(message: Message) -> None:
            answers = message["type"] in {"http.response.body", "websocket.send"}
            if answers:
                self._passing("answering")
            await send(message)
            if answers:
                self._passing("answered")

        await self._app(scope, received, sent)


def _die_soon() -> None:
    threading.Timer(random.random() * WITHIN, die).start()  # noqa: S311  nothing secret


def main() -> None:
    """Serve as the command line says, until the environment's point is passed often enough."""
    countdown = Countdown(os.environ.get(POINT, ""), int(os.environ.get(PASSES, "1")))
    signal.signal(signal.SIGUSR1, countdown.arm)
    make_app = http_app.app
    store = _crashing(open_store, countdown)
    with (
        patch.object(settings, "open_store", store),
        patch.object(http_app, "app", lambda: CrashingApp(make_app(), countdown)),
        patch.object(cli, "supervise", alone),  # nobody is to replace who dies here
    ):
        cli.main()


def _crashing(make: Callable[Given, Store], countdown: Countdown) -> Callable[Given, Store]:
    def store(*args: Given.args, **kwargs: Given.kwargs) -> Store:
        return CrashingStore(make(*args, **kwargs), countdown)

    return store


if __name__ == "__main__":
    main()
