"""A worker that dies owes nobody an answer: its keeper says that asking again is safe."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import orjson
import pytest

from examples.serving import Served, serving
from service.keeper import BEGUN, NONE, OPEN, RUNNING, Marks, answer
from tests.http.inprocess import weeks

PREDICT = "/v1/models/co2-gru/predict"
ONE = orjson.dumps({"sequences": [weeks(30)]})
MANY = orjson.dumps({"sequences": [weeks(104)] * 4000})
WORDS = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"


@pytest.fixture
def service(tmp_path) -> Iterator[Served]:
    settings = {"SEQSERVE_MAX_BATCH_SIZE": "1", "SEQSERVE_MAX_SEQUENCES": "4000"}
    with serving(tmp_path / "log", "--provider", "cpu", environment=settings) as served:
        yield served
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert "keeper" not in log


def asking(url: str, sent: bytes) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    raw = socket.create_connection((host, int(port)), timeout=20)
    raw.sendall(sent)
    return raw


def request(body: bytes, more: int = 0) -> bytes:
    return (
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body) + more}\r\n\r\n"
    ).encode() + body


def end_of(raw: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while data := raw.recv(65536):
            found += data
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_requests_that_ran_in_a_worker_that_died_get_a_503_and_idle_connections_an_end(
    service, number
):
    with ExitStack() as stack:
        idle, running, half, stuck = (
            stack.enter_context(asking(service.url, sent))
            for sent in (
                b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
                request(MANY),
                request(ONE, more=10),
                b"GET /health/li",
            )
        )
        found = b""
        while b"live" not in found:
            found += idle.recv(1000)
        while not waiting(service):
            pass
        (worker,) = service.workers()
        os.kill(worker, number)
        died = time.monotonic()
        for raw in (running, half):
            head, _, body = end_of(raw).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1" in head
            assert b"connection: close" in head
            assert orjson.loads(body)["type"] == "urn:seqserve:problem:worker-died"
        assert end_of(idle) == b""
        assert time.monotonic() < died + 5
        end_of(stuck)  # half a head may have been read, or not
    answer = httpx.post(service.url + PREDICT, content=ONE, headers=JSON, timeout=30)
    assert answer.is_success
    end = time.monotonic() + 10
    while len(service.keepers()) > 1:  # that of the dead has gone, too
        assert time.monotonic() < end
        time.sleep(0.02)


JSON = {"content-type": "application/json"}


def waiting(service: Served) -> float:
    lines = httpx.get(f"{service.url}/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("seqserve_waiting_sequences{")]
    return sum(float(line.split()[-1]) for line in found)


def test_a_connection_is_told_by_its_mark_and_by_what_nobody_read():
    marks = Marks()
    marks.set_last_words(WORDS)
    assert marks.last_words() == WORDS
    expected = {}
    with ExitStack() as stack:
        for mark, unread, told in (
            (RUNNING, False, WORDS),
            (RUNNING, True, WORDS),
            (OPEN, False, b""),
            (OPEN, True, WORDS),
            (BEGUN, False, b""),
            (BEGUN, True, b""),
        ):
            ours, theirs = socket.socketpair()
            stack.enter_context(theirs)
            if unread:
                theirs.send(b"GET")
            marks.shared[marks.place(ours.fileno())] = mark
            ours.detach()  # the keeper closes it
            expected[theirs] = told
        other, unmarked = socket.socketpair()
        stack.enter_context(other)
        stack.enter_context(unmarked)
        assert marks.shared[unmarked.fileno()] == NONE
        for theirs in expected:
            theirs.shutdown(socket.SHUT_WR)
        answer(marks)
        assert [end_of(theirs) for theirs in expected] == list(expected.values())
        other.send(b"still open")
        assert unmarked.recv(100) == b"still open"
