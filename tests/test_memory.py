"""What one large request needed is given back, and small ones never ask for it."""

import asyncio
import ctypes
import gc
import json
import socket
import subprocess
import sys
import time
import weakref
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.server import ServerProtocol

from service.http.journal.recorder import Recorder
from service.http.journal.records import Records
from service.http.meters.metrics import Metrics
from service.keeper import Marks
from service.memory import ARENAS, LARGE, Tidy, trim
from service.server import Server
from service.settings import Settings
from tests.http.inprocess import weeks


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


async def test_cycles_are_collected_at_regular_times_before_python_looks_for_them():
    class Cyclic:
        pass

    gone = asyncio.Event()
    gc.disable()
    try:
        one = Cyclic()
        one.itself = one
        weakref.finalize(one, gone.set)
        del one
        async with Tidy(0.0, lambda: None).regularly(0.01):
            await asyncio.wait_for(gone.wait(), 10)
    finally:
        gc.enable()


async def test_the_heap_is_trimmed_at_regular_times_whatever_is_asked(tmp_path, monkeypatch):
    twice, trims = asyncio.Event(), []

    def trim_it():
        trims.append(1)
        if len(trims) > 1:
            twice.set()

    async with Tidy(0.0, trim_it).regularly(0.01):
        await asyncio.wait_for(twice.wait(), 10)
    async with listening(tmp_path, monkeypatch):
        assert "tidy" in {task.get_name() for task in asyncio.all_tasks()}
    assert "tidy" not in {task.get_name() for task in asyncio.all_tasks()}


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


THREADS = """
import ctypes, sys, threading
from service.memory import share_arena
if sys.argv[1] == "shared":
    assert share_arena()
together = threading.Barrier(12)
def work():
    together.wait(20)
    block = bytes(60_000)
    together.wait(20)
threads = [threading.Thread(target=work) for _ in range(12)]
for each in threads: each.start()
for each in threads: each.join(20)
ctypes.CDLL(None).malloc_stats()
"""
FREED = """
import ctypes, threading
from pathlib import Path
from service.memory import share_arena, trim
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
assert share_arena()
libc.free(libc.malloc(20_000_000))  # from now on as much is kept at the end of a heap
def work():
    blocks = [libc.malloc(60_000) for _ in range(500)]
    for block in blocks: ctypes.memset(block, 1, 60_000)
    for block in blocks: libc.free(block)
thread = threading.Thread(target=work)
thread.start()
thread.join(20)
before = resident()
assert trim()
print(before - resident())
"""
glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="not glibc")


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=60)


@glibc
def test_all_threads_share_one_arena_instead_of_one_each():
    assert run(THREADS, "shared").stderr.count(b"Arena ") == ARENAS
    assert run(THREADS, "as they come").stderr.count(b"Arena ") > ARENAS


@glibc
def test_what_a_thread_freed_at_the_end_of_its_heap_is_given_back():
    assert int(run(FREED).stdout) > 25_000_000


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

    recorder = Recorder(app, Records(Metrics(), log_requests=False), Tidy(0.0, trimmed.set))
    await recorder({"type": "http", "headers": [], "method": "POST", "path": "/"}, receive, send)
    await asyncio.wait_for(trimmed.wait(), 10)


@asynccontextmanager
async def listening(folder, monkeypatch):
    """Yield an address, and the connections to it that are still in memory."""
    for name, value in (("PROVIDER", "cpu"), ("STORE", "none"), ("STATES", folder / "states")):
        monkeypatch.setenv(f"SEQSERVE_{name}", str(value))
    monkeypatch.setattr("service.http.app.configure", lambda *_, **__: None)
    server, made = Server(Settings(), Marks()), weakref.WeakSet()
    connect = server._connection

    def remembered(*given):
        made.add(one := connect(*given))
        return one

    monkeypatch.setattr(server, "_connection", remembered)
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        await server.load()
        await server.listen((place,))
        try:
            yield place.getsockname(), made
        finally:
            await server.stop(0)


async def test_a_connection_that_is_over_leaves_nothing_for_the_collector(tmp_path, monkeypatch):
    body = json.dumps({"sequences": [weeks(30)]}).encode()
    head = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = [
        f"POST /v1/models/co2-gru/predict{query} HTTP/1.1\r\n{head}".encode() + body
        for query in ("", "?long")
    ]

    def parsing():
        return any(isinstance(each, ServerProtocol) for each in gc.get_objects())

    async with listening(tmp_path, monkeypatch) as (address, made):
        gc.collect()
        gc.disable()
        try:
            upgrade = (
                b"GET /v1/models/co2-gru/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            halves = [each[:-20] for each in whole]
            for sent in (*whole, *halves, upgrade, b"GET / HTTP/1.1\r\n\r\n", b"?\r\n"):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(sent)
                if sent in whole:
                    assert b"200" in await reader.readline()
                else:
                    await asyncio.sleep(0.05)  # until it has been read
                writer.close()
                await writer.wait_closed()
            async with asyncio.timeout(10):
                while made or parsing():  # noqa: ASYNC110  whoever is freed tells nobody
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()


async def test_no_collection_looks_at_what_a_worker_has_loaded(tmp_path, monkeypatch):
    gc.unfreeze()
    async with listening(tmp_path, monkeypatch):
        assert gc.get_freeze_count() > len(gc.get_objects())
