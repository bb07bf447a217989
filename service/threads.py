"""Threads for one kind of blocking work, so that it never delays other kinds."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Threads:
    """Run calls in a few threads of their own; cancelling the caller does not end its call."""

    def __init__(self, name: str, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, name)

    async def run(
        self,
        call: Callable[Parameters, Result],
        *arguments: Parameters.args,
        **options: Parameters.kwargs,
    ) -> Result:
        """Return what the call returns, or raise what it raises."""
        loop = asyncio.get_running_loop()
        there = partial(copy_context().run, call, *arguments, **options)  # the log's context, too
        return await loop.run_in_executor(self._threads, there)

    def close(self) -> None:
        """Cancel the calls that have not begun; do not wait for the others."""
        self._threads.shutdown(wait=False, cancel_futures=True)
