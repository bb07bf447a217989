"""More connections than a process may hold: health is told, good clients are served."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from examples.serving import Served, serving
from tests.http.inprocess import weeks
from tests.http.transport_rows import PREDICT, request
from tests.http.wire import comes_true, connect, connections, get, read, send, until_closed

BODY = json.dumps({"sequences": [weeks(30)]}).encode()
GOOD = request(b"Content-Length: %d\r\n" % len(BODY), b"Connection: close\r\n", body=BODY)
HALF_HEAD = b"POST " + PREDICT + b" HTTP/1.1\r\nHost: x\r\n"
HALF_BODY = request(b"Content-Length: 1000\r\n", body=b"{")
ROOM, BODY_S, MANY = 12, 1.0, 12_000  # more than a socket holds
_SENT = json.dumps({"sequences": [weeks(26)] * MANY}).encode()
LARGE = request(b"Content-Length: %d\r\n" % len(_SENT), b"Connection: close\r\n", body=_SENT)
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module", params=["true", "false"], ids=["short", "long"])
def service(request, tmp_path_factory) -> Iterator[Served]:
    environment = {
        "SEQSERVE_EXPRESS": request.param,
        "SEQSERVE_MAX_CONNECTIONS": str(ROOM),
        "SEQSERVE_BODY_TIMEOUT_S": str(BODY_S),
        "SEQSERVE_MAX_SEQUENCES": str(MANY),
        "SEQSERVE_MAX_WAITING": str(MANY),
    }
    log = tmp_path_factory.mktemp("crowd") / "log"
    with serving(log, "--provider", "cpu", environment=environment) as service:
        yield service
    assert "Traceback" not in log.read_text()


@pytest.fixture(autouse=True)
def alone(service) -> None:
    """Let the connections of the last test end."""
    assert comes_true(lambda: connections(service) == 0)


def test_half_open_connections_give_way_to_good_ones(service):
    with ExitStack() as stack:
        crowd = []
        for _ in range(3 * ROOM):
            crowd.append(stack.enter_context(connect(service)))
            crowd[-1].sendall(HALF_HEAD)
        for _ in range(5):
            assert send(service, GOOD).status == 200
        assert connections(service) <= ROOM
        refused = read(until_closed(crowd[0]))
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        assert b"urn:seqserve:problem:too-many-connections" in refused.body
    assert comes_true(lambda: connections(service) == 0)


def test_an_idle_client_that_works_now_and_then_outlives_a_crowd_of_half_open_ones(service):
    with httpx.Client(base_url=service.url) as client, ExitStack() as stack:
        for _ in range(6):
            for _ in range(ROOM // 3):
                stack.enter_context(connect(service)).sendall(HALF_HEAD)
            answer = client.post(PREDICT.decode(), json={"sequences": [weeks(30)]})
            assert answer.status_code == 200
            # It is the connection it was.
            (kept,) = client._transport._pool.connections
            assert kept.info().startswith("'http://")
        assert "Request Count: 6" in kept.info()


def test_where_nobody_can_give_way_health_is_told_and_others_are_refused_at_once(service):
    with ExitStack() as stack:
        for _ in range(ROOM):
            stack.enter_context(connect(service)).sendall(HALF_BODY)
        assert comes_true(lambda: send(service, GOOD).status == 503, 1)
        began = time.monotonic()
        refused = send(service, GOOD)
        assert time.monotonic() - began < 0.5
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["connection"] == "close"
        assert json.loads(refused.body)["type"] == "urn:seqserve:problem:too-many-connections"
        for path in ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"):
            said = get(service, path)
            assert said.status == 200
            assert said.headers["connection"] == "close"
    assert comes_true(lambda: send(service, GOOD).status == 200, BODY_S + 2)


def connected(service: Served, room: int) -> socket.socket:
    """Return a connection whose client takes few bytes at a time."""
    host, port = service.url.removeprefix("http://").split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    raw.settimeout(20)
    raw.connect((host, int(port)))
    return raw


def test_a_client_that_does_not_read_its_answer_is_cut_off(service):
    with connected(service, 4096) as deaf:
        deaf.sendall(LARGE)
        began = time.monotonic()
        assert comes_true(lambda: connections(service) == 0)
        assert time.monotonic() - began > BODY_S


def test_a_client_that_reads_slowly_gets_all_of_its_answer(service):
    began = time.monotonic()
    with connected(service, 65_536) as slow:
        slow.sendall(LARGE)
        found = b""
        while data := slow.recv(65_536):
            found += data
            time.sleep(0.015)
    assert time.monotonic() - began > BODY_S
    assert len(json.loads(read(found).body)["predictions"]) == MANY
