"""
The supervisor: a process that starts the workers, replaces those that die, and ends them all.

It owns the sockets that the workers listen on, so connections waiting there survive a worker's
death, and it keeps spare processes that have loaded everything and need only start to listen.
"""

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE

from service.channel import Channel
from service.http.meters.metrics import MULTIPROCESS
from service.logs import configure
from service.port import Place, close, urls
from service.restarts import Restarts
from service.settings import Settings
from service.worker import ALIVE, KEEPER, LOADED, SERVING, STOP, TAKE, on_signals

GONE = "gone"  # the word noted when a worker has ended
FIRST_SIGN = 60.0  # seconds until a new process must have given a sign of life
SLACK = 4.0  # seconds a worker may take beyond the shutdown timeout before it is killed
A_LOOK = 0.1  # seconds between two looks at a keeper
TRACES = 0.5  # seconds for a hung worker to log its traceback

log = logging.getLogger(__name__)


def supervise(settings: Settings, places: Sequence[Place]) -> int:
    """Keep a worker at every place until SIGTERM or SIGINT; return the exit status."""
    configure(settings.log_level, settings.log_format)
    return asyncio.run(_supervise(settings, places))


async def _supervise(settings: Settings, places: Sequence[Place]) -> int:
    return await Supervisor(settings, places).run()


@dataclass(eq=False, slots=True)
class _Worker:
    """A worker's process, and what is known of it."""

    process: Process
    channel: Channel
    heard: float  # when it last gave a sign of life
    loaded: bool = False
    place: int | None = None


class Supervisor:
    """
    Keep a worker at every place, and spare processes beside.

    A process is given a place when it has loaded: the first ready gets the first vacant place, at
    the start and after a death alike.
    """

    def __init__(self, settings: Settings, places: Sequence[Place]) -> None:
        self._settings = settings
        self._places = places
        self._workers: list[_Worker] = []
        self._vacant: dict[int, float | None] = dict.fromkeys(range(len(places)))  # since when
        self._coming = 0  # processes that are being started, or are to be after a while
        self._restarts = Restarts()
        self._status = 0
        self._stopping = asyncio.Event()
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> int:
        """Start, watch and end the workers; return the exit status."""
        on_signals(self._heed, self._end_at_once)
        async with asyncio.TaskGroup() as self._tasks:
            watch = self._tasks.create_task(self._watch(), name="watch")
            await self._fill()
            await self._stopping.wait()
            watch.cancel()
        return self._status

    async def _fill(self) -> None:
        """Start as many processes as are missing; spares only once every place is taken."""
        while not self._stopping.is_set():
            spares = 0 if self._vacant else self._settings.spares
            coming = sum(worker.place is None for worker in self._workers) + self._coming
            if coming >= len(self._vacant) + spares:
                return
            await self._start()

    async def _start(self) -> None:
        ours, theirs = Channel.pair()
        self._coming += 1  # counted before it is there: others may fill up meanwhile
        try:
            with theirs:
                number = theirs.fileno()
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "service.process", str(number), str(os.getpid())),
                    pass_fds=[number],
                    process_group=0,  # a terminal's SIGINT is for the supervisor alone
                )
        finally:
            self._coming -= 1
        worker = _Worker(process, Channel(ours), self._clock() + FIRST_SIGN)
        self._workers.append(worker)
        self._tasks.create_task(self._mind(worker), name=f"worker {process.pid}")
        self._tasks.create_task(_await_end(worker), name=f"end of worker {process.pid}")
        if self._stopping.is_set():
            _signal(worker, signal.SIGKILL)

    async def _mind(self, worker: _Worker) -> None:
        """Handle the messages of a worker until it has ended, then replace it."""
        while (said := await worker.channel.hear()).word != GONE:
            if said.word == KEEPER:
                if keeper := int(said.value):  # 0: this system has none
                    watch = self._mind_keeper(keeper, worker)
                    self._tasks.create_task(watch, name=f"keeper {keeper}")
            elif said.word == ALIVE:
                worker.heard = self._clock()
            elif said.word == LOADED:
                worker.loaded = True
                self._assign()
            elif said.word == SERVING:
                if not self._restarts.served:
                    log.info("Serving at %s.", " and ".join(urls(self._places[0])))
                self._restarts.serves()
                await self._fill()
        worker.channel.close()
        self._workers.remove(worker)
        if MULTIPROCESS in os.environ:
            mark_process_dead(worker.process.pid)  # type: ignore[no-untyped-call]  # unannotated
        if not self._stopping.is_set():
            await self._replace(worker, int(said.value))

    async def _mind_keeper(self, keeper: int, worker: _Worker) -> None:
        """Wait for the process beside a worker; if it is the first to end, let the worker go."""
        status = await _ended(keeper)
        if worker in self._workers:
            await asyncio.sleep(A_LOOK)  # its own end may be heard of a moment later
        if worker in self._workers:
            log.error("The keeper of worker %d died before it.", worker.process.pid)
            if worker.loaded:  # else keepers cannot live here, and the next one could not either
                _signal(worker, signal.SIGTERM)
        elif status:
            log.error("The keeper of worker %d failed.", worker.process.pid)

    def _assign(self) -> None:
        """Give vacant places to processes that have loaded."""
        idle = (each for each in self._workers if each.loaded and each.place is None)
        for worker, (place, since) in zip(idle, list(self._vacant.items()), strict=False):
            worker.place = place
            worker.channel.say(TAKE, sockets=self._places[place])
            del self._vacant[place]
            waited = "" if since is None else f" {self._clock() - since:.3f} s after a death"
            log.info("Worker %d takes place %d%s.", worker.process.pid, place, waited)

    async def _replace(self, worker: _Worker, code: int) -> None:
        pid, delay = worker.process.pid, 0.0
        if worker.place is not None:
            self._vacant[worker.place] = self._clock()
            self._assign()
        if code:
            delay = self._restarts.died(self._clock())
            log.error("Worker %d died%s.", pid, _cause(code))
        if self._restarts.hopeless or (code == STARTUP_FAILURE and not self._restarts.served):
            log.critical("No worker can start; the service ends.")
            self._status = STARTUP_FAILURE
            self._stop(0.0)
        if delay:
            log.error("Too many deaths: the next process starts in %.1f s.", delay)
            self._coming += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            self._coming -= 1
        await self._fill()

    async def _watch(self) -> None:
        """Abort workers that give no sign of life."""
        pause = self._settings.hung_s / 10
        looked = self._clock()
        while True:
            await asyncio.sleep(pause)
            late, looked = self._clock() - looked - pause, self._clock()
            for worker in list(self._workers):
                if late > pause:  # this process was suspended, and so perhaps were the workers
                    worker.heard = max(worker.heard, looked)
                if looked - worker.heard > self._settings.hung_s:
                    self._abort(worker)

    def _abort(self, worker: _Worker) -> None:
        """Abort a hung worker, which logs its traceback, and kill it a moment later."""
        silence = self._clock() - worker.heard
        log.error("Worker %d hangs: silent for %.1f s.", worker.process.pid, silence)
        worker.heard = self._clock() + TRACES
        _signal(worker, signal.SIGABRT)
        asyncio.get_running_loop().call_later(TRACES, _signal, worker, signal.SIGKILL)

    def _heed(self, number: int) -> None:
        log.info("%s: the service stops.", signal.Signals(number).name)
        self._stop(self._settings.drain_s if number == signal.SIGTERM else 0.0)

    def _stop(self, drain: float) -> None:
        """Have every worker finish; kill those that do not serve yet."""
        self._stopping.set()
        for place in self._places:
            close(place)  # the workers have theirs until the drain is over
        for worker in self._workers:
            if worker.place is None:
                _signal(worker, signal.SIGKILL)
            worker.channel.say(STOP, str(drain))
        late = self._settings.shutdown_timeout_s + SLACK
        asyncio.get_running_loop().call_later(late, self._kill)

    def _kill(self) -> None:
        for worker in self._workers:
            log.error("Worker %d did not end in time and is killed.", worker.process.pid)
            self._status = 1
            _signal(worker, signal.SIGKILL)

    def _end_at_once(self, number: int) -> None:
        for worker in self._workers:
            _signal(worker, signal.SIGKILL)
        os._exit(128 + number)


async def _await_end(worker: _Worker) -> None:
    # The channel itself does not tell: the keeper has it open, too.
    worker.channel.note(GONE, str(await worker.process.wait()))


async def _ended(keeper: int) -> int:
    """Wait until a keeper has ended, so that it is no zombie; return its status."""
    with suppress(ChildProcessError):
        while True:
            ended, status = os.waitpid(keeper, os.WNOHANG)  # noqa: ASYNC222  it does not wait
            if ended:
                return status
            await asyncio.sleep(A_LOOK)
    return 0


def _signal(worker: _Worker, number: int) -> None:
    with suppress(ProcessLookupError):
        worker.process.send_signal(number)


def _cause(code: int) -> str:
    return f" of {signal.Signals(-code).name}" if code < 0 else f" with status {code}"
