"""Threads for one purpose, so that what one kind of work waits for holds up no other kind."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Aside:
    """Runs calls in a few threads of its own; others wait, and whoever leaves ends none."""

    def __init__(self, name: str, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, name)

    async def run(
        self,
        call: Callable[Parameters, Result],
        *arguments: Parameters.args,
        **options: Parameters.kwargs,
    ) -> Result:
        """Return what a call returns, or raise what it raises."""
        loop = asyncio.get_running_loop()
        there = partial(copy_context().run, call, *arguments, **options)  # the log's context, too
        return await loop.run_in_executor(self._threads, there)

    def close(self) -> None:
        """Begin nothing more; wait for nothing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
