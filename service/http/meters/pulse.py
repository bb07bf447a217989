"""A look at the process itself, twice a second: how late its event loop is, what it has loaded."""

import asyncio
import time
from typing import Self

from service.engine.core import Engine
from service.http.meters.metrics import Metrics

PERIOD = 0.5  # seconds


class Pulse:
    """Tells the metrics how late the loop is and what the engine has, while its block lasts."""

    def __init__(self, metrics: Metrics, engine: Engine, period: float = PERIOD) -> None:
        self._metrics = metrics
        self._engine = engine
        self._period = period
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        self._metrics.on_beat(self._engine, 0.0)
        self._wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()

    def _wait(self) -> None:
        self._due = time.perf_counter() + self._period
        self._timer = self._loop.call_later(self._period, self._beat)

    def _beat(self) -> None:
        lag = max(0.0, time.perf_counter() - self._due)
        self._wait()  # first: whatever fails now, the next one comes
        self._metrics.on_beat(self._engine, lag)
