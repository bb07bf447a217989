"""While a queue is full, predictions are refused by their heads, and their connections go on."""

import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import median

import httpx
import orjson
import pytest

from examples.serving import serving
from tests.http.inprocess import weeks

PREDICT = "/v1/models/co2-gru/predict"
COUNT = 4000
BODY = orjson.dumps({"sequences": [weeks(30)]})
MANY = orjson.dumps({"sequences": [weeks(104)] * COUNT})


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    # One row a batch, and hardly any may wait: a large request fills the queue for a while.
    settings = {
        "SEQSERVE_MAX_QUEUE_MS": "0.001",
        "SEQSERVE_MAX_BATCH_SIZE": "1",
        "SEQSERVE_MAX_SEQUENCES": str(COUNT),
    }
    log = tmp_path_factory.mktemp("shedding") / "log"
    with serving(log, "--provider", "cpu", environment=settings) as service:
        yield service.url


def head(length: int, more: str = "") -> bytes:
    return (
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n{more}\r\n"
    ).encode()


def answer(raw: socket.socket) -> tuple[int, dict[str, str], dict]:
    """Read one answer and not a byte more."""
    with raw.makefile("rb", buffering=0) as lines:
        status = int(lines.readline().split()[1])
        pairs = [line.decode().strip().partition(": ") for line in iter(lines.readline, b"\r\n")]
        headers = {name: value for name, _, value in pairs}
        body = b""
        while len(body) < int(headers["content-length"]):
            body += lines.read(int(headers["content-length"]) - len(body))
    return status, headers, orjson.loads(body)


def filling(pool: ThreadPoolExecutor, client: httpx.Client) -> Future[httpx.Response]:
    """Return a large request that is being answered, once it fills the queue."""
    while True:
        large = pool.submit(client.post, PREDICT, content=MANY, timeout=60)
        while not large.done():  # it may be refused itself, for one of these
            if not client.post(PREDICT, content=BODY).is_success:
                return large


def test_a_refusal_does_not_wait_for_the_body_and_the_connection_goes_on(url):
    host, port = url.removeprefix("http://").split(":")
    headers = {"content-type": "application/json"}
    good = httpx.post(url + PREDICT, content=BODY, headers=headers).json()
    with (
        ThreadPoolExecutor(1) as pool,
        httpx.Client(base_url=url, headers=headers) as client,
        socket.create_connection((host, int(port)), timeout=10) as raw,
    ):
        large = filling(pool, client)
        seconds = []
        for more, request_id in (("", None), ("X-Request-Id: abc\r\n", "abc")):
            began = time.monotonic()
            raw.sendall(head(len(BODY), more))  # and no body yet
            status, told, problem = answer(raw)
            if large.done():
                pytest.skip("this machine is too fast")
            seconds.append(time.monotonic() - began)
            assert status == 503
            assert told["retry-after"] == "1"
            assert told["content-type"] == "application/problem+json"
            assert problem["type"] == "urn:seqserve:problem:overloaded"
            assert problem["request_id"] == told["x-request-id"]
            assert request_id in {None, told["x-request-id"]}
            raw.sendall(BODY)  # which nobody wants any more
        assert max(seconds) < 2
        assert min(seconds) < 0.05  # 10 ms and less on a quiet machine
        assert len(large.result().json()["predictions"]) == COUNT
        raw.sendall(head(len(BODY)) + BODY)
        status, told, body = answer(raw)
        assert status == 200
        assert body["predictions"] == good["predictions"]
    refused = 'seqserve_refused_requests_total{reason="overloaded"}'
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    assert next(float(line.split()[-1]) for line in lines if line.startswith(refused)) >= 3


def test_liveness_is_answered_while_the_queue_is_full(url):
    headers = {"content-type": "application/json"}
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=url, headers=headers) as client:
        large = filling(pool, client)
        seconds = []
        while not large.done():
            began = time.monotonic()
            assert client.get("/health/live").is_success
            seconds.append(time.monotonic() - began)
        assert max(seconds) < 2  # 50 ms on a quiet machine: see docs/overload.md
        assert median(seconds) < 0.05
