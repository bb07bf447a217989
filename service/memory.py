"""Return memory to the system that the C library would keep after it was freed."""

import asyncio
import ctypes
import gc
from collections.abc import Callable

from service.repeated import Repeated

LARGE = 2**20  # bytes of a body after which trimming is worthwhile
ARENAS = 1  # for all threads
_M_ARENA_MAX = -8  # glibc's malloc.h
EVERY = 30.0  # seconds between two trims, which take a few milliseconds at most
YOUNG = 1  # the generation of objects that outlived one look of Python's for cycles
QUIET = 1.0  # seconds without a large request, which would need the memory again


def trim() -> bool:
    """Return free pages of the heap to the system; False if this C library cannot."""
    malloc_trim = _glibc("malloc_trim")
    if malloc_trim is None:
        return False
    malloc_trim(0)
    return True


def share_arena() -> bool:
    """
    Have all threads allocate from one arena from now on; return False if the C library cannot.

    By default glibc makes up to eight arenas per processor, one for each new thread.  Each keeps
    the memory of the largest batch that ran in it, for trimming returns the end of the first
    arena only, and that of another stays until it is twice the largest block that was ever freed.
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
    """Trim the heap when no large request has ended for a while, and at regular times."""

    def __init__(self, quiet: float = QUIET, trim: Callable[[], object] = trim) -> None:
        self._quiet = quiet
        self._trim = trim
        self._timer: asyncio.TimerHandle | None = None

    def after(self, size: int) -> None:
        """Note, on the event loop, the end of a request of so many bytes."""
        if size < LARGE:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._quiet, self._trim)

    def regularly(self, seconds: float = EVERY) -> Repeated:
        """
        Return a block that collects cycles and trims as long as it lasts.

        Small requests leave free pages, too, and some answers cycles: those of an OpenAPI document
        are 12,000 objects, and Python by itself would not look for them before 50,000 new ones.
        What has outlived a look is not looked at again, so that it takes about a millisecond.
        """

        async def tidy() -> None:
            gc.collect(YOUNG)
            self._trim()

        return Repeated("tidy", tidy, seconds, spread=0.5)
