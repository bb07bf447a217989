"""What one WebSocket client may make the service do: raw frames over a real socket."""

import os
import signal
import socket
import struct
import time

import httpx
import pytest

from examples.serving import serving
from tests.http.inprocess import weeks

PATH = "/v1/models/co2-gru/stream"
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)
TEXT, CONT, PING, PONG, CLOSE = 1, 0, 9, 10, 8
pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("socket")
    store = {"SEQSERVE_STORE": f"sqlite:///{folder}/sessions.db"}
    log = folder / "service.log"
    with serving(log, "--provider", "cpu", environment=store) as service:
        yield service
    assert "Traceback" not in log.read_text()
    assert "handshake" not in log.read_text()  # which is uvicorn's word for one it took for lost


def connected(service, more: str = "", body: bytes = b"") -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    raw = socket.create_connection((host, int(port)), timeout=20)
    raw.sendall(UPGRADE.format(path=PATH, more=more).encode() + body)
    return raw


def opened(service) -> socket.socket:
    raw = connected(service)
    head = b""
    while b"\r\n\r\n" not in head:
        head += raw.recv(4096)
    assert head.startswith(b"HTTP/1.1 101 ")
    return raw


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """Return a short frame as a client sends it, masked with zeros."""
    assert len(payload) < 126
    return struct.pack("!BB4s", opcode | fin << 7, 0x80 | len(payload), bytes(4)) + payload


def end_of(raw: socket.socket) -> bytes:
    """Return all that comes until the service closes the connection."""
    found = b""
    try:
        while data := raw.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize(
    ("more", "body", "status"),
    [
        ("X-Long: " + "a" * 9000 + "\r\n", b"", b"400"),
        ("Content-Length: 5\r\n", b"hello", b"400"),
        ("".join(f"X-{number}: 1\r\n" for number in range(200)), b"", b"431"),
        ("Sec-WebSocket-Version: 8\r\n", b"", b"426"),
    ],
    ids=["long header", "body", "many headers", "two versions"],
)
def test_an_upgrade_that_cannot_be_read_is_refused_and_closed(service, more, body, status):
    with connected(service, more, body) as raw:
        said = end_of(raw)
    assert said.startswith(b"HTTP/1.1 " + status)
    assert b"content-type: application/problem+json\r\n" in said
    assert b"x-request-id: " in said
    counted = f'seqserve_requests_total{{method="GET",route="none",status="{status.decode()}"}}'
    assert counted in httpx.get(f"{service.url}/metrics").text


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_control_frames_without_end_close_the_connection_and_delay_nobody(service, opcode):
    with opened(service) as raw:
        raw.sendall(frame(opcode, b"x") * 20_000)
        began = time.monotonic()
        assert httpx.get(f"{service.url}/health/live").is_success
        assert time.monotonic() - began < 5
        assert b"too many control frames" in end_of(raw)


def test_a_few_pings_are_answered(service):
    with opened(service) as raw:
        raw.sendall(frame(PING, b"here"))
        assert raw.recv(100) == b"\x8a\x04here"


def test_a_message_of_fragments_without_end_closes_the_connection(service):
    with opened(service) as raw:
        raw.sendall(frame(TEXT, b"[", fin=False) + frame(CONT, b" ", fin=False) * 10_000)
        assert b"too many fragments" in end_of(raw)


def test_a_message_in_some_fragments_is_answered_and_one_that_is_no_text_closes(service):
    with opened(service) as raw:
        raw.sendall(frame(TEXT, b"[", fin=False) + frame(CONT, b"1]"))
        assert b"expected an object" in raw.recv(4096)
        raw.sendall(frame(TEXT, b"\xff\xfe"))
        assert b"not UTF-8" in end_of(raw)


def test_an_upgrade_that_cannot_be_read_does_not_spoil_the_stopping(tmp_path):
    log = tmp_path / "service.log"
    store = {"SEQSERVE_STORE": f"sqlite:///{tmp_path}/sessions.db"}
    with serving(log, "--provider", "cpu", environment=store) as service:
        session = httpx.post(
            f"{service.url}/v1/models/co2-gru/sessions", json={"values": weeks(30)}
        ).json()["session"]
        with connected(service, "Content-Length: 5\r\n", b"hello"), opened(service) as raw:
            message = b'{"session":"%s","step":1,"values":[341]}' % session.encode()
            raw.sendall(frame(TEXT, message))
            assert b'"status":200' in raw.recv(65536)
            os.kill(service.pid, signal.SIGTERM)
            assert struct.pack("!H", 1012) in end_of(raw)
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("path", ["/nowhere", "/health/live", "/v1/models/none/stream"])
def test_an_upgrade_that_leads_nowhere_is_a_problem_and_counted(service, path):
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(UPGRADE.format(path=path, more="X-Request-Id: mine\r\n").encode())
        said = end_of(raw)
    assert said.startswith(b"HTTP/1.1 404 ")
    assert b"x-request-id: mine\r\n" in said
    assert b"application/problem+json" in said
    route = "/v1/models/{name}/stream" if path.endswith("stream") else "none"
    counted = f'seqserve_requests_total{{method="GET",route="{route}",status="404"}}'
    assert counted in httpx.get(f"{service.url}/metrics").text
