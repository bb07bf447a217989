"""
Kill a process at a chosen call to the system: just before it, or just after it.

The work runs in a fork whose profiler sees every call of Python's into C; those of ``posix``,
``fcntl`` and ``_io`` are counted, and each has two points.  Whatever is made of a crash between
two of them would be made between two others.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

MODULES = ("posix", "fcntl", "_io")
SURVIVED, FAILED = 0, 70  # how a fork ends that was not killed

Work = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """How a run of some work ended: the points passed, by the call and its side."""

    points: tuple[str, ...]
    killed: bool
    failed: bool


def run(work: Work, kill_at: int | None = None) -> Seen:
    """Run work in a fork, and kill that at a point, counted from 0; None: at none."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        _in_fork(work, sink, kill_at)
    os.close(sink)
    with os.fdopen(source, encoding="utf-8") as told:
        points = tuple(told.read().splitlines())
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return Seen(points, killed, not killed and status != SURVIVED)


def _in_fork(work: Work, sink: int, kill_at: int | None) -> None:
    passed, tell = 0, os.write  # bound before the profiler watches

    def watch(_: FrameType, event: str, called: Any) -> None:  # noqa: ANN401
        nonlocal passed
        if event not in ("c_call", "c_return") or _module(called) not in MODULES:
            return
        side = "before" if event == "c_call" else "after"
        tell(sink, f"{side} {called.__name__}\n".encode())
        if passed == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    status = FAILED
    try:
        sys.setprofile(watch)
        work()
        sys.setprofile(None)
        status = SURVIVED
    finally:
        os._exit(status)


def _module(called: Any) -> str | None:  # noqa: ANN401
    found: str | None = getattr(called, "__module__", None)
    return found or type(getattr(called, "__self__", None)).__module__
