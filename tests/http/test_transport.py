"""Bad transport over real sockets, on both ways; after each row the service is as before."""

import json
import re
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from examples.serving import Served, serving
from service.settings import ZOO
from tests.http.inprocess import GRU, weeks
from tests.http.transport_rows import ROWS, Row, chunked, request
from tests.http.waits import Speech, Told, told
from tests.http.wire import (
    comes_true,
    connect,
    descriptors,
    get,
    one_answer,
    read,
    send,
    until_closed,
    waiting,
)

BODY = json.dumps({"sequences": [weeks(30)]}).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
GOOD = request(LENGTH, body=BODY)
CLOSE = b"Connection: close\r\n"
HEAD_S, BODY_S, IDLE_S = 0.4, 0.8, 0.6
ENVIRONMENT = {
    "SEQSERVE_HEAD_TIMEOUT_S": str(HEAD_S),
    "SEQSERVE_BODY_TIMEOUT_S": str(BODY_S),
    "SEQSERVE_KEEP_ALIVE_S": str(IDLE_S),
    "SEQSERVE_MAX_BODY_BYTES": "500000",
}
HEADS = {"one byte": b"G", "half a header": b"POST /v1/models HTTP/1.1\r\nHost: x\r\nX-A: "}
BODIES = {
    "declared": request(b"Content-Length: 1000\r\n", body=b"{"),
    "no route": request(b"Content-Length: 1000\r\n", path=b"/v1/nothing", body=b"{"),
    "chunked": request(b"Transfer-Encoding: chunked\r\n", body=b"5\r\nhel"),
    "none of it": request(b"Transfer-Encoding: chunked\r\n", b"X-Request-Timeout-Ms: 20000\r\n"),
}
SLOW = [
    BODY[begin : begin + len(BODY) // 5 + 1] for begin in range(0, len(BODY), len(BODY) // 5 + 1)
]
SPEECHES = {name: Speech([sent]) for name, sent in (HEADS | BODIES).items()} | {
    "nothing": Speech([]),
    "byte by byte": Speech([bytes([byte]) for byte in GOOD[:200]], pause=0.05),
    "a slow body": Speech([request(LENGTH, CLOSE), *SLOW], pause=BODY_S / 10),
    "idle": Speech([GOOD]),
}
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[dict[str, Served]]:
    """One service that has the short way, and one that sends everything the long way."""
    folder = tmp_path_factory.mktemp("transport")
    shutil.copytree(ZOO / GRU, folder / "models" / GRU)
    starting = [
        serving(
            folder / f"{way}.log",
            "--provider",
            "cpu",
            "--models",
            str(folder / "models"),
            environment=ENVIRONMENT | {"SEQSERVE_EXPRESS": flag},
        )
        for way, flag in (("short", "true"), ("long", "false"))
    ]
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        yield dict(zip(("short", "long"), pool.map(stack.enter_context, starting), strict=True))
    for way in ("short", "long"):
        text = (folder / f"{way}.log").read_text()
        assert "Traceback" not in text
        assert "Exception" not in text


@contextmanager
def unharmed(service: Served) -> Iterator[None]:
    """Let something happen, after which the service holds and answers what it did before."""
    exact = good_answer(service)
    assert comes_true(lambda: waiting(service) == 0)
    held = descriptors(service)
    yield
    assert good_answer(service) == exact
    assert get(service, "/health/live").status == 200
    assert comes_true(lambda: waiting(service) == 0)
    assert comes_true(lambda: descriptors(service) <= held)


@pytest.fixture(params=["short", "long"])
def service(services, request) -> Iterator[Served]:
    """Yield a service of one way."""
    with unharmed(services[request.param]):
        yield services[request.param]


@pytest.fixture(scope="module", params=["short", "long"])
def waited(services, request) -> dict[str, Told]:
    """Return what those were told who keep a service waiting, all of them at once."""
    with unharmed(services[request.param]):
        return told(services[request.param], SPEECHES)


def good_answer(service: Served) -> bytes:
    said = send(service, request(LENGTH, CLOSE, body=BODY))
    assert said.status == 200
    return said.body


def is_problem(said, status: int, kind: str) -> None:
    assert said.status == status
    assert said.headers["content-type"] == "application/problem+json"
    assert said.headers["connection"] == "close"
    assert int(said.headers["content-length"]) == len(said.body) < 4096
    problem = json.loads(said.body)
    assert problem["type"] == f"urn:seqserve:problem:{kind}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["error"] == problem["detail"]
    assert problem["request_id"] == said.headers["x-request-id"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_no_request_gets_a_problem_and_the_connection_is_closed(service, row: Row):
    is_problem(send(service, row.raw), row.status, row.type)


def test_what_is_no_request_is_answered_after_the_requests_before_it(service):
    answered, refused = re.split(
        rb"(?=HTTP/1.1 400)",
        send_and_read(service, GOOD + GOOD + b"\x00garbage\r\n\r\n"),
        maxsplit=1,
    )
    assert answered.count(b"HTTP/1.1 200 OK") == 2
    is_problem(read(refused), 400, "malformed-http")


def send_and_read(service: Served, raw: bytes) -> bytes:
    with connect(service) as connection:
        connection.sendall(raw)
        return until_closed(connection)


def test_a_refusal_is_counted_and_logged_with_the_id_that_came(service):
    def refused() -> float:
        text = get(service, "/metrics").body.decode()
        found = re.findall(r'^seqserve_requests_total\{.*status="431"\} (\S+)', text, re.MULTILINE)
        return sum(map(float, found))

    before = refused()
    said = send(service, request(b"X-Request-Id: mine-1\r\n", b"X-A: " + b"a" * 40_000 + b"\r\n"))
    assert said.headers["x-request-id"] == "mine-1"
    assert refused() == before + 1


@pytest.mark.parametrize("head", HEADS)
def test_a_head_that_does_not_come_is_refused_in_its_time(waited, head):
    is_problem(read(waited[head].data), 408, "request-timeout")
    assert HEAD_S - 0.05 < waited[head].seconds < HEAD_S + 1


def test_a_head_that_comes_a_byte_at_a_time_has_no_more_time_than_others(waited):
    is_problem(read(waited["byte by byte"].data), 408, "request-timeout")
    assert waited["byte by byte"].seconds < HEAD_S + 1


def test_who_says_nothing_is_told_nothing(waited):
    assert waited["nothing"].data == b""


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_does_not_come_ends_the_connection_in_its_time(waited, body):
    said = read(waited[body].data)
    if body == "no route":  # answered before its body has come
        assert said.status == 404
    else:
        is_problem(said, 408, "request-timeout")
    assert BODY_S - 0.05 < waited[body].seconds < BODY_S + 3


def test_a_slow_body_that_comes_in_its_time_is_answered(waited):
    assert read(waited["a slow body"].data).status == 200


def test_an_idle_connection_is_closed_without_a_word(waited):
    said = read(waited["idle"].data)
    assert said.status == 200
    assert int(said.headers["content-length"]) == len(said.body)
    assert IDLE_S - 0.2 < waited["idle"].silence < IDLE_S + 1


def test_a_body_shorter_than_declared_and_then_the_end_is_no_work(service):
    with connect(service) as raw:
        raw.sendall(request(b"Content-Length: 1000\r\n", body=b'{"sequences": [['))
        raw.shutdown(socket.SHUT_WR)
        assert until_closed(raw) == b""


def test_chunks_with_extensions_and_trailers_are_a_body(service):
    half = len(BODY) // 2
    body = b"%x;a=b\r\n%b\r\n%X\r\n%b\r\n" % (half, BODY[:half], len(BODY) - half, BODY[half:])
    raw = chunked(body + b"0\r\n" + b"Content-Type: text/plain\r\n" * 100 + b"\r\n")
    with connect(service) as connection:
        connection.sendall(raw)
        assert one_answer(connection).status == 200


@pytest.mark.parametrize("blank", [b" ", b"\t", b"  "])
def test_blanks_behind_a_value_are_not_its_own(service, blank):
    ends, framing = blank + b"\r\n", blank.strip(b"\t") + b"\r\n"  # a tab is refused there
    given = b"X-Request-Timeout-Ms: 5000" + ends + b"X-Request-Id: mine" + ends
    whole = request(given, b"Content-Length: %d" % len(BODY) + framing, body=BODY)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    for raw in (whole, request(given, b"Transfer-Encoding: chunked" + framing, body=body)):
        with connect(service) as connection:
            connection.sendall(raw)
            said = one_answer(connection)
        assert (said.status, said.headers["x-request-id"]) == (200, "mine")


def test_an_upgrade_that_nobody_knows_is_a_request_like_others(service):
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    )
    with connect(service) as raw:
        for _ in range(2):
            raw.sendall(request(offer, LENGTH, body=BODY))
            assert one_answer(raw).status == 200
