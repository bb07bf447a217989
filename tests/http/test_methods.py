"""What a path may be asked, and what is said to the rest; and paths that lead nowhere."""

import json
import re
from collections.abc import Iterator

import pytest

from examples.serving import Served, serving
from tests.http.wire import Said, send

TEMPLATES = {
    "/v1/models/co2-gru/predict": "/v1/models/{name}/predict",
    "/v1/models/co2-gru/sessions": "/v1/models/{name}/sessions",
    "/v1/sessions/x": "/v1/sessions/{id}",
    "/v1/sessions/x/state": "/v1/sessions/{id}/state",
}
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("methods")
    store = {"SEQSERVE_STORE": f"sqlite:///{folder}/sessions.db"}
    with serving(folder / "log", "--provider", "cpu", environment=store) as service:
        yield service


def ask(service: Served, method: str, path: str, more: str = "") -> Said:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n"
    return send(service, head.encode("latin-1"))


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "//health/live",
        "/health//live",
        "/health/%2e%2e/health/live",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%00",
        "/health/live%00",
        "/v1/models/%00",
        "/v1/models/%ff",
        "/v1/models/%2e%2e%2fco2-gru/card",
        "/%ff%fe",
        "/%",
        "/%zz",
        "*",
    ],
)
def test_a_path_that_leads_nowhere_is_not_found(service, path):
    said = ask(service, "OPTIONS" if path == "*" else "GET", path)
    assert said.status == 404
    assert said.headers["content-type"] == "application/problem+json"
    assert b"passwd" not in said.body
    if not path.startswith("/v1/models/"):  # where it may be a model's name
        assert b"/docs and /openapi.json show which there are" in said.body


def test_a_path_with_a_slash_too_many_is_told_of_it(service):
    said = ask(service, "GET", "/health/live/")
    assert said.status == 404
    assert b"without the slash at its end, one does" in said.body


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/health/live", "get, head"),
        ("PURGE", "/health/live", "get, head"),
        ("GET", "/v1/models/co2-gru/predict", "post"),
        ("HEAD", "/v1/models/co2-gru/predict", "post"),
        ("OPTIONS", "/v1/models/co2-gru/predict", "post"),
        ("POST", "/openapi.json", "get, head"),
        ("PUT", "/v1/models/co2-gru/stream", "get"),
        ("PUT", "/v1/models/co2-gru/sessions", "post"),
        ("PATCH", "/v1/sessions/x", "get, delete, head"),
        ("PATCH", "/v1/sessions/x/state", "get, put, head"),
    ],
)
def test_a_wrong_method_is_told_every_right_one(service, method, path, allow):
    said = ask(service, method, path, "Content-Length: 0\r\n")
    assert said.status == 405
    assert said.headers["allow"] == allow
    if method != "HEAD":
        problem = json.loads(said.body)
        assert problem["type"] == "urn:seqserve:problem:method-not-allowed"
        known = not path.endswith(("/stream", "/openapi.json"))
        place, says = problem["detail"].split(" takes ")
        assert place == (TEMPLATES.get(path, path) if known else "This path")
        assert says == f"{allow.upper().replace(', ', ' or ')}, not {method}."


@pytest.mark.parametrize("path", ["/health/live", "/v1/models", "/v1/models/nobody", "/metrics"])
def test_head_says_what_get_would_without_the_body(service, path):
    head, get = (ask(service, method, path) for method in ("HEAD", "GET"))
    assert head.status == get.status
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.body == b""
    assert get.body
    if path != "/metrics":
        assert head.headers["content-length"] == get.headers["content-length"]


def test_a_websocket_is_asked_for_by_an_upgrade(service):
    said = ask(service, "GET", "/v1/models/co2-gru/stream")
    assert said.status == 426
    assert said.headers["upgrade"] == "websocket"
    assert b"urn:seqserve:problem:upgrade-required" in said.body


def test_a_head_is_counted_as_one(service):
    def count() -> float:
        text = ask(service, "GET", "/metrics").body.decode()
        line = r'^seqserve_requests_total\{method="HEAD",route="/v1/models",status="200"\} (\S+)'
        return float(re.search(line, text, re.MULTILINE)[1])

    ask(service, "HEAD", "/v1/models")
    before = count()
    ask(service, "HEAD", "/v1/models")
    assert count() == before + 1
