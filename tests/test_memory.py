"""What one large request needed is given back, and small ones never ask for it."""

import asyncio
import ctypes
import time
from pathlib import Path

import pytest

from service.http.access import Access, Records
from service.http.metrics import Metrics
from service.memory import LARGE, Tidy, trim


async def test_the_heap_is_trimmed_once_after_the_last_of_many_large_requests():
    trimmed = asyncio.Event()
    times = []

    def trim_it():
        times.append(time.monotonic())
        trimmed.set()

    tidy, last = Tidy(0.2, trim_it), time.monotonic()
    for size in (LARGE, 10, 2 * LARGE, 0):
        last = time.monotonic() if size else last
        tidy.after(size)
    await asyncio.wait_for(trimmed.wait(), 10)
    assert [moment >= last + 0.19 for moment in times] == [True]
    trimmed.clear()
    tidy.after(LARGE)
    await asyncio.wait_for(trimmed.wait(), 10)
    assert len(times) == 2


async def test_small_requests_trim_nothing():
    trims = []
    tidy = Tidy(0.0, lambda: trims.append(1))
    for _ in range(100):
        tidy.after(LARGE - 1)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not trims


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


async def test_the_long_way_tidies_after_what_came_in_parts():
    trimmed = asyncio.Event()
    parts = [{"type": "http.request", "body": bytes(LARGE // 4), "more_body": True}] * 4

    async def receive():
        return parts.pop()

    async def send(_):
        pass

    async def app(_scope, receive, _send):
        while parts:
            await receive()

    access = Access(app, Records(Metrics(), log_requests=False), Tidy(0.0, trimmed.set))
    await access({"type": "http", "headers": [], "method": "POST", "path": "/"}, receive, send)
    await asyncio.wait_for(trimmed.wait(), 10)
