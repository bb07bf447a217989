"""Give memory back to the system: the C library keeps what a large request needed, just in case."""

import asyncio
import ctypes
from collections.abc import Callable

LARGE = 2**20  # bytes of a body that is worth it
ARENAS = 2  # the event loop's, and one of all other threads
_M_ARENA_MAX = -8  # glibc's malloc.h
QUIET = 1.0  # seconds; in a stream of large requests the memory is needed again at once


def trim() -> bool:
    """Return free pages of every arena to the system; return whether this C library can."""
    malloc_trim = _glibc("malloc_trim")
    if malloc_trim is None:
        return False
    malloc_trim(0)
    return True


def share_arenas() -> bool:
    """
    Have all threads share two arenas from now on; return whether this C library can.

    It would give eight a processor to threads as they come, and each keeps what the largest
    batch needed that ran there.
    """
    mallopt = _glibc("mallopt")
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, ARENAS))


def _glibc(name: str) -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):  # another C library
        return None
    return function


class Tidy:
    """Trim the heap once, when the last large request has been over for a while."""

    def __init__(self, quiet: float = QUIET, trim: Callable[[], object] = trim) -> None:
        self._quiet = quiet
        self._trim = trim
        self._timer: asyncio.TimerHandle | None = None

    def after(self, size: int) -> None:
        """Hear, on the event loop, of a request of so many bytes that is over."""
        if size < LARGE:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._quiet, self._trim)
