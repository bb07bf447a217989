"""The short way and the long way give one answer, to good requests and to bad ones."""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from examples.serving import serving
from models.serving import Serving
from models.states import States
from service.http.journal.records import Records
from service.http.lifetime import HOT_ROUTES
from service.http.meters.metrics import Metrics
from service.http.request.limits import Limits
from service.http.transport import express
from service.http.transport.express import Express
from service.memory import Tidy
from tests.http.inprocess import running, weeks
from tests.http.tables import ARROW, long, stream

PREDICT, INFER = "/v1/models/co2-gru/predict", "/v2/models/co2-gru/infer"
JSON = {"Content-Type": "application/json"}
GOOD = weeks(30)
TENSOR = np.array(GOOD, np.float32).reshape(1, 30, 1)
HEAD = json.dumps(
    {
        "inputs": [
            {
                "name": "sequences",
                "shape": [1, 30, 1],
                "datatype": "FP32",
                "parameters": {"binary_data_size": TENSOR.nbytes},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
).encode()


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[dict[str, tuple[str, int]]]:
    """Two services: one that has the short way, one that sends everything the long way."""
    folder, found = tmp_path_factory.mktemp("express"), {}
    with ExitStack() as stack:
        states = States(folder / "states")
        states.replace("co2-gru", Serving(aliases={"stable": 1}))
        for way, flag in (("short", "true"), ("long", "false")):
            environment = {
                "SEQSERVE_EXPRESS": flag,
                "SEQSERVE_MAX_BODY_BYTES": "60000",
                "SEQSERVE_STATES": str(states.folder),
            }
            served = stack.enter_context(
                serving(folder / f"{way}.log", "--provider", "cpu", environment=environment)
            )
            host, port = served.url.removeprefix("http://").split(":")
            found[way] = host, int(port)
        yield found


def ask(address, path, body, headers) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, told, answer.read()
    finally:
        connection.close()


def body(*sequences, **more) -> bytes:
    return json.dumps({"sequences": sequences, **more}).encode()


BODIES = [
    body(GOOD),
    body([[value] for value in GOOD]),
    body({"values": GOOD, "id": "A", "start": "2026-01-01"}, GOOD[:26]),
    body(GOOD, quantiles=[0.9, 0.1]),
    json.dumps({"sequences": [GOOD]}, indent=2).encode(),
    body({"values": GOOD, "id": "\u00e9\u4e2d [x]"}),
    body(GOOD, quantiles=[0.3]),
    body(GOOD, explain=["attention"]),
    body(GOOD, surplus=1),
    body(GOOD[:3]),
    body([[value, value] for value in GOOD]),
    body([[1.0], [[2.0]], *[[3.0]] * 28]),
    body([[1.0], [2.0, 3.0], *[[3.0]] * 28]),
    body([*GOOD[:-1], None]),
    body([*GOOD[:-1], True]),
    body([*GOOD[:-1], "1"]),
    body([*GOOD[:-1], 1e39]),
    body([*GOOD[:-1], 10**30]),
    body({"values": GOOD, "id": 7}),
    body({"values": GOOD, "id": "x" * 300}),
    body({"values": GOOD, "start": "yesterday"}),
    body({"values": GOOD, "future": [1.0]}),
    body(),
    body([]),
    body([[]]),
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"sequences": [[1, NaN]]}',
    b'{"sequences": [[1, 1e400]]}',
    b"\xef\xbb\xbf" + body(GOOD),
    b'{"sequences": [{"values": [1], "id": "\\ud800"}]}',
    b"\xff\xfe",
]


def alike(services, path, sent, headers) -> int:
    """Ask both; return the status when all that a client may see is the same."""
    answers = [ask(services[way], path, sent, headers) for way in ("short", "long")]
    told = []
    for status, given, content in answers:
        shown = {
            name: given.get(name)
            for name in (
                "content-type",
                "content-encoding",
                "retry-after",
                "accept",
                "inference-header-content-length",
            )
        }
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given["x-request-id"])
        assert int(given["content-length"]) == len(content)
        told.append((status, shown, content.replace(given["x-request-id"].encode(), b"ID")))
    assert told[0] == told[1]
    return told[0][0]


@pytest.mark.parametrize("sent", BODIES, ids=[repr(each)[:50] for each in BODIES])
def test_both_ways_say_the_same_to_any_body(services, sent):
    assert alike(services, PREDICT, sent, JSON) in (200, 400, 422)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({}, 415),
        (JSON | {"Content-Encoding": "gzip"}, 415),
        (JSON | {"Content-Encoding": "identity"}, 200),
        (JSON | {"X-Request-Timeout-Ms": "5000"}, 200),
        (JSON | {"X-Request-Timeout-Ms": "soon"}, 400),
        (JSON | {"X-Request-Id": "mine-1"}, 200),
        (JSON | {"X-Request-Id": "not mine"}, 200),
        (JSON | {"Connection": "close"}, 200),
        (JSON | {"Accept-Encoding": "gzip"}, 200),
        (JSON | {"Accept-Encoding": "gzip, deflate"}, 200),
        (JSON | {"Expect": "100-continue"}, 200),
    ],
    ids=str,
)
def test_both_ways_heed_headers_alike(services, headers, status):
    assert alike(services, PREDICT, body(GOOD), headers) == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/co2-gru/versions/1/predict", 200),
        ("/v1/models/co2-gru/versions/9/predict", 404),
        ("/v1/models/co2-gru/versions/stable/predict", 200),
        ("/v1/models/co2-gru/versions/canary/predict", 404),
        ("/v1/models/co2-gru/versions/Stable/predict", 404),
        ("/v1/models/nobody/predict", 404),
        ("/v1/models/co2-gru/predict?x=1", 200),
        ("/v1/models/co2%2Dgru/predict", 200),
    ],
)
def test_both_ways_know_the_same_paths(services, path, status):
    assert alike(services, path, body(GOOD), JSON) == status


@pytest.mark.parametrize("length", [str(len(HEAD)), "0", "x", "99999", None])
def test_both_ways_read_binary_tensors_alike(services, length):
    headers = {"Content-Type": "application/octet-stream"}
    if length is not None:
        headers["Inference-Header-Content-Length"] = length
    status = alike(services, INFER, HEAD + TENSOR.tobytes(), headers)
    assert (status == 200) == (length == str(len(HEAD)))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (stream(long({"a": GOOD, "b": GOOD[:26]})), 200),
        (stream(long({"a": GOOD}).drop("ds")), 200),
        (stream(long({"a": GOOD[:3]})), 422),
        (stream(long({"a": GOOD}), compression="zstd"), 422),
        (body(GOOD), 400),
        (b"", 400),
    ],
    ids=range(6),
)
def test_both_ways_read_tables_alike(services, sent, status):
    assert alike(services, PREDICT, sent, ARROW) == status


def test_both_ways_refuse_a_body_over_the_limit(services):
    assert alike(services, PREDICT, b" " * 70_000, JSON) == 413


def test_requests_in_one_write_are_answered_in_order(services):
    request = b"".join(
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"X-Request-Id: n{number}\r\nContent-Length: {len(body(GOOD))}\r\n\r\n".encode()
        + body(GOOD)
        for number in range(5)
    )
    with socket.create_connection(services["short"], timeout=20) as raw:
        raw.sendall(request)
        seen = b""
        while seen.count(b'"predictions"') < 5:
            seen += raw.recv(65536)
    assert re.findall(rb"x-request-id: (n\d)", seen) == [b"n0", b"n1", b"n2", b"n3", b"n4"]


def test_a_body_that_comes_byte_by_byte_is_answered_on_a_connection_that_stays(services):
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body(GOOD))}\r\n\r\n".encode() + body(GOOD)
    with socket.create_connection(services["short"], timeout=20) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for place in range(len(request)):
                raw.sendall(request[place : place + 1])
            seen = b""
            while b'"predictions"' not in seen:
                seen += raw.recv(65536)
            assert seen.startswith(b"HTTP/1.1 200 OK\r\n")


def test_both_ways_heed_the_timeout_of_a_body(services):
    for microseconds, status in ((1, 503), (10**7, 200), (10**12, 200), (0, 200)):
        head = json.loads(HEAD) | {"parameters": {"timeout": microseconds}}
        entry = head["inputs"][0] | {"data": TENSOR.reshape(-1).tolist(), "parameters": {}}
        sent = json.dumps(head | {"inputs": [entry]}).encode()
        assert alike(services, INFER, sent, JSON) == status


def test_a_request_that_stays_half_sent_is_refused_when_its_deadline_passes(services):
    with socket.create_connection(services["short"], timeout=20) as raw:
        raw.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"X-Request-Timeout-Ms: 50\r\nContent-Length: 1000\r\n\r\n{{".encode()
        )
        seen = b""
        while chunk := raw.recv(65536):
            seen += chunk
    assert seen.startswith(b"HTTP/1.1 503 ")
    assert b"deadline-exceeded" in seen


def test_both_ways_count_under_the_same_labels_and_leave_nothing_waiting(services):
    lines = {}
    for way, address in services.items():
        for _ in range(10):  # clients who leave before their answer
            with socket.create_connection(address, timeout=20) as raw:
                sent = body(GOOD)
                head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                raw.sendall(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
        assert ask(address, PREDICT, body(GOOD), JSON)[0] == 200
        connection = http.client.HTTPConnection(*address, timeout=20)
        until = time.monotonic() + 20
        waiting = None
        while waiting != 0.0 and time.monotonic() < until:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            waiting = sum(map(float, re.findall(r"^seqserve_waiting\S+ (\S+)", text, re.MULTILINE)))
        connection.close()
        assert waiting == 0.0
        lines[way] = set(
            re.findall(
                r"^(seqserve_requests_total\{.*predict.*status=\"200\"\})", text, re.MULTILINE
            )
        )
    assert lines["short"] == lines["long"] != set()


def test_each_request_of_a_connection_is_heard_for_itself(services):
    """What the last one said is remembered, and must answer for no other."""
    other, short = PREDICT.replace("gru", "lstm"), json.dumps({"sequences": [GOOD[:26]]}).encode()
    asked = [
        (PREDICT, body(GOOD), JSON, 200, "co2-gru"),
        (PREDICT, body(GOOD), JSON, 200, "co2-gru"),
        (other, body(GOOD), JSON, 200, "co2-lstm"),
        (PREDICT, short, JSON, 200, "co2-gru"),
        (PREDICT, body(GOOD), JSON | {"X-Request-Timeout-Ms": "soon"}, 400, "whole number"),
        (PREDICT, body(GOOD), JSON, 200, "co2-gru"),
        (PREDICT, body(GOOD), {"Content-Type": "text/plain"}, 415, "application/json"),
        (PREDICT, body(GOOD), JSON | {"X-Request-Id": "one"}, 200, "co2-gru"),
        (PREDICT, body(GOOD), JSON | {"X-Request-Id": "two"}, 200, "co2-gru"),
    ]
    connection, ids = http.client.HTTPConnection(*services["short"], timeout=20), []
    for path, sent, headers, status, word in asked:
        connection.request("POST", path, sent, headers)
        answer = connection.getresponse()
        assert answer.status == status
        assert word in answer.read().decode()
        ids.append(answer.headers["x-request-id"])
    assert len(set(ids)) == len(asked)
    assert ids[-2:] == ["one", "two"]
    connection.close()


async def test_only_paths_at_which_a_version_answers_are_kept(monkeypatch):
    """Whoever makes up names could fill the memory of a process, or drive the real ones out."""
    async with running() as service:
        records = Records(Metrics(), log_requests=False)
        limits = Limits(max_sequences=8, max_body_bytes=9_999, request_timeout_ms=1_000)
        way = Express(service.engine, limits, records, Tidy(), HOT_ROUTES)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"9")]
        made_up = [f"/v1/models/co2-gru/versions/{number}/predict" for number in range(2, 40)]
        for path in (PREDICT, *made_up, INFER):
            assert way.head(path.encode(), headers) is not None
        assert {*way._paths} == {PREDICT.encode(), INFER.encode()}
        monkeypatch.setattr(express, "_MOST_PATHS", 2)
        assert way.head(PREDICT.replace("gru", "lstm").encode(), headers).name == "co2-lstm"
        assert len(way._paths) == 1
