"""The balancer has its time, accepted work its end, and the process is gone as promised."""

import os
import signal
import socket
import time
from contextlib import ExitStack, suppress

import httpx
import pytest

from examples.serving import serving
from tests.http.inprocess import weeks

PREDICT = "/v1/models/co2-gru/predict"
ONE = {"sequences": [weeks(30)]}


def stopped(service, limit: float) -> int:
    """Return the exit status of a service that ends in time."""
    return service.process.wait(limit)


def connected(url: str, sent: bytes = b"") -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    raw = socket.create_connection((host, int(port)), timeout=10)
    raw.sendall(sent)
    return raw


def head(length: int) -> bytes:
    return (
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def end_of(raw: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while data := raw.recv(65536):
            found += data
    return found


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_balancer_has_its_time_before_the_port_closes(tmp_path, workers):
    environment = {"SEQSERVE_DRAIN_S": "1.5"}
    options = "--provider", "cpu", "--workers", workers
    with serving(tmp_path / "log", *options, environment=environment) as service:
        kept = httpx.Client(base_url=service.url)
        assert "connection" not in kept.post(PREDICT, json=ONE).headers
        began = time.monotonic()
        os.kill(service.pid, signal.SIGTERM)
        for path in ("/health/ready", "/v2/health/ready"):
            while (status := httpx.get(service.url + path).status_code) != 503:
                assert status == 200
                assert time.monotonic() < began + 1, "readiness does not notice"
        last = 0.0
        while time.monotonic() < began + 0.9:  # new connections and old ones are served
            for client in (kept, httpx):
                where = PREDICT if client is kept else service.url + PREDICT
                answer = client.post(where, json=ONE)
                assert answer.status_code == 200
                assert answer.headers["connection"] == "close"
            assert httpx.get(f"{service.url}/health/live").is_success
            last = time.monotonic()
        assert last > began + 0.7
        assert stopped(service, 10) == 0
        assert time.monotonic() > began + 1.5
        with pytest.raises(ConnectionRefusedError):
            connected(service.url)


def test_slow_clients_are_refused_and_cut_off_in_time(tmp_path):
    environment = {
        "SEQSERVE_SHUTDOWN_TIMEOUT_S": "3",
        "SEQSERVE_MAX_SEQUENCES": "10000",
        "SEQSERVE_MAX_WAITING": "10000",
    }
    with (
        serving(tmp_path / "log", "--provider", "cpu", environment=environment) as service,
        ExitStack() as stack,
    ):
        large = httpx.Request("POST", service.url, json={"sequences": [weeks(26)] * 9000}).read()
        idle = stack.enter_context(
            connected(service.url, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        )
        while b"live" not in idle.recv(1000):
            pass
        half_head = stack.enter_context(connected(service.url, b"GET /health/live HT"))
        half_body = stack.enter_context(connected(service.url, head(1000) + b"{"))
        deaf = socket.socket()
        stack.enter_context(deaf)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = service.url.removeprefix("http://").split(":")
        deaf.connect((host, int(port)))
        deaf.sendall(head(len(large)) + large)
        assert httpx.post(service.url + PREDICT, json=ONE).is_success
        began = time.monotonic()
        os.kill(service.pid, signal.SIGTERM)
        assert end_of(idle) == end_of(half_head) == b""
        assert time.monotonic() < began + 2.5, "who had nothing to wait for waited"
        refused = end_of(half_body)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in refused
        assert b"connection: close\r\n" in refused
        assert b"urn:seqserve:problem:stopping" in refused
        assert stopped(service, 10) == 0
        assert time.monotonic() < began + 7
    log = (tmp_path / "log").read_text()
    assert "2 connections are not finished" in log
    assert "Traceback" not in log


def test_a_second_sigterm_ends_at_once(tmp_path):
    environment = {"SEQSERVE_DRAIN_S": "15"}
    with serving(tmp_path / "log", "--provider", "cpu", environment=environment) as service:
        os.kill(service.pid, signal.SIGTERM)
        while httpx.get(f"{service.url}/health/ready").is_success:
            pass
        os.kill(service.pid, signal.SIGTERM)
        assert stopped(service, 2) == 128 + signal.SIGTERM
        gone(service.url)


def test_interrupting_from_a_terminal_drains_nobody(tmp_path):
    environment = {"SEQSERVE_DRAIN_S": "15", "SEQSERVE_SPARES": "1"}
    with serving(tmp_path / "log", "--provider", "cpu", environment=environment) as service:
        groups = {os.getpgid(worker) for worker in service.workers()}
        assert os.getpgid(service.pid) not in groups  # whom a terminal signals, all of them
        os.kill(service.pid, signal.SIGINT)
        assert stopped(service, 5) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_no_worker_outlives_a_supervisor_that_is_killed(tmp_path):
    with serving(tmp_path / "log", "--provider", "cpu", "--workers", "2") as service:
        assert len(service.workers()) == 2
        os.kill(service.pid, signal.SIGKILL)
        gone(service.url)


def gone(url: str) -> None:
    """Return once nobody listens; fail if somebody still does after a while."""
    end = time.monotonic() + 5
    with suppress(ConnectionRefusedError, ConnectionResetError):
        while time.monotonic() < end:
            connected(url).close()
        pytest.fail("Somebody still listens.")
