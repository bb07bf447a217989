"""What one large request needed is given back, and small ones never ask for it."""

import ctypes
from pathlib import Path

import pytest

from service.memory import LARGE, QUIET, Tidy, trim


class Loop:
    """Remembers what should happen later."""

    def __init__(self):
        self.timers = []

    def call_later(self, seconds, callback):
        self.timers.append(Timer(seconds, callback))
        return self.timers[-1]


class Timer:
    def __init__(self, seconds, callback):
        self.seconds, self.callback, self.cancelled = seconds, callback, False

    def cancel(self):
        self.cancelled = True


def test_only_the_last_of_many_large_requests_is_tidied_after():
    loop = Loop()
    tidy = Tidy(loop)
    for size in (10, LARGE, LARGE - 1, 2 * LARGE, 0):
        tidy.after(size)
    assert [(timer.seconds, timer.cancelled) for timer in loop.timers] == [
        (QUIET, True),
        (QUIET, False),
    ]
    assert loop.timers[-1].callback is trim


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_trimming_returns_what_was_freed_below_what_is_kept():
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(100_000) for _ in range(1000)]  # too small to be mapped alone
    for block in blocks:
        ctypes.memset(block, 1, 100_000)
    top = libc.malloc(100_000)  # holds the heap's end in place
    for block in blocks:
        libc.free(block)
    before = resident()
    assert trim()
    assert before - resident() > 50_000_000
    libc.free(top)
