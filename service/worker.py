"""A process that serves, alone or for a supervisor that says where and until when."""

import asyncio
import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from uvicorn.config import STARTUP_FAILURE

from service.channel import Channel
from service.keeper import Marks
from service.memory import share_arena
from service.port import Place
from service.repeated import Repeated
from service.server import Server
from service.settings import Settings

# The words of the messages between a worker and its supervisor.
KEEPER, LOADED, SERVING, ALIVE = "keeper", "loaded", "serving", "alive"
TAKE, STOP = "take", "stop"

BEAT = 1.0  # seconds between two signs of life, at most
BEATS = 4  # signs of life, at least, in the silence after which a worker is taken to hang


def alone(settings: Settings, places: Sequence[Place]) -> int:
    """Serve in this process, unsupervised, until SIGTERM or SIGINT; return its exit status."""
    return _run(_alone(settings, places))


def work(channel: int, keeper: int, marks: Marks) -> int:
    """
    Serve for a supervisor until it says stop; return the exit status.

    ``channel`` is the file descriptor of our end of the channel, ``keeper`` the keeper's pid.
    """
    faulthandler.enable()
    return _run(_supervised(Settings(), channel, keeper, marks))


def on_signals(first: Callable[[int], None], second: Callable[[int], None]) -> None:
    """Have the first SIGTERM or SIGINT call ``first``, and each later one ``second``."""
    loop = asyncio.get_running_loop()
    called = False

    def heed(number: int) -> None:
        nonlocal called
        (second if called else first)(number)
        called = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heed, number)


async def _alone(settings: Settings, places: Sequence[Place]) -> None:
    asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    on_signals(asked.set_result, lambda number: os._exit(128 + number))
    server = Server(settings, Marks())
    await server.load()
    await server.listen(tuple(socket for place in places for socket in place))
    await server.stop(settings.drain_s if await asked == signal.SIGTERM else 0.0)


async def _supervised(settings: Settings, number: int, keeper: int, marks: Marks) -> None:
    channel = Channel.inherited(number)
    channel.say(KEEPER, str(keeper))
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, channel.note, STOP, str(settings.drain_s)
    )

    async def beat() -> None:
        channel.say(ALIVE)

    async with Repeated("beat", beat, pause_of(settings.hung_s)):
        server = Server(settings, marks)
        await server.load()
        channel.say(LOADED)
        said = await channel.hear()
        if said.word == TAKE:
            await server.listen(said.sockets)
            channel.say(SERVING)
            said = await channel.hear()
        await server.stop(float(said.value or 0))


def pause_of(hung_seconds: float) -> float:
    """Return the seconds between two signs of life of a worker."""
    return min(BEAT, hung_seconds / BEATS)


def _run(serving: Coroutine[None, None, None]) -> int:
    share_arena()
    import uvloop  # noqa: PLC0415  a supervisor needs none

    async def serve() -> None:
        await serving
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # without waiting for threads that still compute

    with suppress(SystemExit), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
    return STARTUP_FAILURE
