"""Keys over real sockets: the short way, the long way, streams; one worker and two."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from examples.serving import serving
from tests.http.inprocess import weeks
from tests.keys.made import Keys

PREDICT = "/v1/models/co2-gru/predict"
STREAMS = "co2-stream-gru"
UNLOAD = "/v2/repository/models/co2-lstm/unload"
BODY = json.dumps({"sequences": [weeks(30)]}).encode()
# What the short way takes, and what it leaves to the long one.
WAYS = {"short": "application/json", "long": "application/json; charset=utf-8"}
ways = pytest.mark.parametrize("way", WAYS)
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    keys = Keys(tmp_path_factory.mktemp("keys"))
    keys.add("first", scopes="metrics")
    return keys


@pytest.fixture(scope="module")
def service(tmp_path_factory, keys) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("service")
    store = f"sqlite:///{folder}/sessions.db"
    environment = {"SEQSERVE_STORE": store, "SEQSERVE_LOG_LEVEL": "debug", **keys.environment}
    with serving(folder / "log", "--provider", "cpu", environment=environment) as service:
        yield service.url
    log = (folder / "log").read_text()
    assert "Traceback" not in log
    assert '"caller":"' in log  # a name may be logged
    assert [key for key in keys.issued if key[17:] in log] == []  # whatever was asked, at any level


@contextmanager
def client(url: str, key: str | None = None) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, headers=headers, timeout=20) as client:
        yield client


def predict(client: httpx.Client, way: str, path: str = PREDICT) -> httpx.Response:
    return client.post(path, content=BODY, headers={"Content-Type": WAYS[way]})


def fresh(keys: Keys, *words: str, scopes: str = "predict") -> tuple[str, str]:
    """Return the name and text of a new key."""
    name = f"key-{time.monotonic_ns()}"
    return name, keys.add(name, *words, scopes=scopes)


@ways
def test_a_key_lets_in_and_no_key_does_not(service, keys, way):
    _, text = fresh(keys)
    with client(service, text) as known, client(service) as stranger:
        assert [predict(known, way).status_code for _ in range(3)] == [200] * 3
        refused = predict(stranger, way)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer ")
        assert refused.headers["x-request-id"] == refused.json()["request_id"]
        assert known.get("/metrics").status_code == 403
        assert stranger.get("/health/ready").status_code == 200


def test_metrics_need_their_scope_and_have_no_key_in_them(service, keys):
    with client(service, keys.issued[0]) as prometheus:
        shown = prometheus.get("/metrics")
    assert shown.status_code == 200
    assert [key for key in keys.issued if key[:16] in shown.text] == []


def test_who_has_no_key_is_refused_before_the_body_comes(service):
    host, port = service.removeprefix("http://").split(":")
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(head.encode() + b"Content-Length: 10000000\r\n\r\n")
        assert raw.recv(12) == b"HTTP/1.1 401"


@ways
def test_another_key_on_the_same_connection_is_looked_at_anew(service, keys, way):
    _, text = fresh(keys)
    with client(service) as same:
        for key, status in ((text, 200), (f"{text[:-4]}AAAA", 401), (text, 200), ("", 401)):
            same.headers["X-API-Key"] = key
            assert predict(same, way).status_code == status


@ways
def test_a_key_that_is_revoked_ends_on_a_connection_that_is_kept(service, keys, way):
    (name, gone), (_, stays) = fresh(keys), fresh(keys)
    with client(service, gone) as one, client(service, stays) as other:
        assert predict(one, way).status_code == predict(other, way).status_code == 200
        keys.run("revoke", name)
        revoked = time.monotonic()
        while predict(one, way).status_code == 200:
            assert time.monotonic() - revoked < 1
        assert predict(one, way).json()["type"] == "urn:seqserve:problem:wrong-key"
        assert predict(other, way).status_code == 200


def test_a_rate_is_exact_whichever_way_its_requests_take(service, keys):
    _, text = fresh(keys, "--rate", "6/h")
    with client(service, text) as limited:
        told = [predict(limited, way) for _ in range(5) for way in WAYS]
    assert [each.status_code for each in told] == [200] * 6 + [429] * 4
    refused = told[-1]
    assert 590 < int(refused.headers["retry-after"]) <= 600
    assert refused.json()["retry_after"] == int(refused.headers["retry-after"])
    assert refused.json()["type"] == "urn:seqserve:problem:rate-reached"


def test_sessions_belong_to_the_tenant_of_the_key(service, keys):
    _, own = fresh(keys, "--tenant", "acme", scopes="sessions")
    _, free = fresh(keys, "--any-tenant", scopes="sessions")
    _, none = fresh(keys, scopes="sessions")
    path = f"/v1/models/{STREAMS}/sessions"
    with client(service, own) as acme, client(service, free) as any_, client(service, none) as no:
        opened = acme.post(path, json={})
        assert opened.status_code == 201
        session = opened.headers["location"]
        assert acme.get(session).status_code == 200
        assert acme.get(session, headers={"X-Tenant": "acme"}).status_code == 200
        assert acme.get(session, headers={"X-Tenant": "other"}).status_code == 403
        assert any_.get(session).status_code == 404
        assert any_.get(session, headers={"X-Tenant": "acme"}).status_code == 200
        assert no.get(session).status_code == 404
        assert no.get(session, headers={"X-Tenant": "acme"}).status_code == 403


def stream(url: str, **headers: str):
    address = url.replace("http", "ws", 1) + f"/v1/models/{STREAMS}/stream"
    return connect(address, additional_headers=headers, open_timeout=20)


def test_a_stream_is_refused_before_it_opens(service, keys):
    _, text = fresh(keys)
    for headers, status in (({}, 401), ({"X-API-Key": "x"}, 401), ({"X-API-Key": text}, 403)):
        with pytest.raises(InvalidStatus) as caught:
            stream(service, **headers)
        answer = caught.value.response
        assert answer.status_code == status
        assert json.loads(answer.body)["request_id"] == answer.headers["x-request-id"]


def test_a_stream_is_closed_when_its_key_is_revoked_and_another_is_not(service, keys):
    (name, gone), (_, stays) = fresh(keys, scopes="sessions"), fresh(keys, scopes="sessions")
    with (
        stream(service, **{"X-API-Key": gone}) as one,
        stream(service, **{"X-API-Key": stays}) as two,
    ):
        one.send("{}")
        assert json.loads(one.recv(10))["status"] == 422
        keys.run("revoke", name)
        revoked = time.monotonic()
        with pytest.raises(ConnectionClosed) as caught:
            one.recv(10)
        assert time.monotonic() - revoked < 1.5
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (
            1008,
            "the key is no longer valid",
        )
        two.send("{}")
        assert json.loads(two.recv(10))["status"] == 422


def test_each_message_of_a_stream_counts_against_the_rate(service, keys):
    _, text = fresh(keys, "--rate", "4/h", scopes="sessions")
    with stream(service, **{"X-API-Key": text}) as socket:
        for _ in range(5):
            socket.send("{}")
        told = [json.loads(socket.recv(10)) for _ in range(5)]
    assert [each["status"] for each in told] == [422] * 3 + [429] * 2  # the upgrade was the first
    assert told[-1]["problem"]["type"] == "urn:seqserve:problem:rate-reached"
    assert told[-1]["problem"]["retry_after"] > 0


def statuses(url: str, key: str, many: int) -> list[int]:
    """Return the answers to requests on connections of their own, which any worker may take."""
    headers = {"X-API-Key": key, "Content-Type": "application/json"}

    def ask(_: int) -> int:
        return httpx.post(f"{url}{PREDICT}", content=BODY, headers=headers, timeout=20).status_code

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, range(many)))


@pytest.mark.timeout(120)
def test_workers_count_together_and_a_restart_forgets_nothing(tmp_path):
    keys = Keys(tmp_path)
    limited = keys.add("limited", "--quota", "60/day", "--rate", "50/h")
    gone = keys.add("gone")
    options = ("--provider", "cpu", "--workers")
    with serving(tmp_path / "two", *options, "2", environment=keys.environment) as service:
        told = statuses(service.url, limited, 80)
        assert (told.count(200), told.count(429)) == (50, 30)
        assert set(statuses(service.url, gone, 20)) == {200}
        keys.run("revoke", "gone")
        time.sleep(1)  # what is promised
        assert set(statuses(service.url, gone, 20)) == {401}
    assert "50 of 60/day" in keys.run("list")
    with serving(tmp_path / "one", *options, "1", environment=keys.environment) as service:
        assert set(statuses(service.url, limited, 5)) == {429}


def refusal(*words: str, **environment: str) -> str:
    """Return what ``seqserve serve`` says when it does not start."""
    result = subprocess.run(
        [sys.executable, "-m", "service.cli", "serve", "--port", "0", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])  # noqa: S104  to be refused
def test_without_keys_a_public_address_is_refused_with_what_to_do(host):
    said = refusal("--host", host)
    assert "seqserve keys add" in said
    assert "--no-keys-on-public-address" in said


def test_keys_that_cannot_be_used_are_said_before_anything_starts(tmp_path):
    assert "SEQSERVE_KEYS: " in refusal("--keys", str(tmp_path / "none.json"))
    (tmp_path / "keys.json").write_text('{"keys": []}')
    (tmp_path / "usage").write_text("something else")
    said = refusal("--keys", str(tmp_path / "keys.json"), SEQSERVE_USAGE=str(tmp_path / "usage"))
    assert "SEQSERVE_USAGE: " in said


def test_on_a_public_address_strangers_predict_only_if_told_so_in_so_many_words(tmp_path):
    options = ("--host", "0.0.0.0", "--no-keys-on-public-address")  # noqa: S104  the point
    with serving(tmp_path / "log", "--provider", "cpu", *options) as service:
        assert httpx.post(f"{service.url}{PREDICT}", content=BODY).status_code == 415
        assert httpx.get(f"{service.url}/metrics").status_code == 200
        told = httpx.post(f"{service.url}{UNLOAD}")
    assert (told.status_code, told.json()["type"]) == (401, "urn:seqserve:problem:no-key")


def test_without_keys_this_machine_administers_and_no_page_in_its_browser(tmp_path):
    states = {"SEQSERVE_STATES": str(tmp_path / "states")}
    with serving(tmp_path / "log", "--provider", "cpu", environment=states) as service:
        page = {"Origin": "https://evil.example"}
        assert httpx.post(f"{service.url}{UNLOAD}", headers=page).status_code == 403
        assert httpx.post(f"{service.url}{UNLOAD}").status_code == 200
