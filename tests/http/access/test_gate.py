"""Default-deny: every route there is, asked without a key and with each."""

import asyncio
import fcntl
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI

from service.http.access import gate
from service.http.access.doors import Household, Strangers
from service.http.access.gate import Gate
from service.http.access.scopes import TABLE, rule_of
from service.keys import ring
from service.keys.errors import UsageUnavailable, WrongKey
from service.keys.ring import Keyring
from service.keys.secrets import issue
from service.keys.usage import Usage
from tests.doubles import within
from tests.http.asking import FORGOTTEN, Asker, asking
from tests.keys.made import Keys

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
PUBLIC = {"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"}
PARTS = {"name": "nobody", "version": "1", "id": "0" * 32, "n": "1"}
SCOPES = ("predict", "sessions", "metrics", "admin")


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> dict[str, str]:
    keys = Keys(tmp_path_factory.mktemp("keys"))
    return {"file": str(keys.path)} | {scope: keys.add(scope, scopes=scope) for scope in SCOPES}


@pytest.fixture(scope="module")
def client(tmp_path_factory, texts) -> Iterator[Asker]:
    folder = tmp_path_factory.mktemp("gate")
    keyring = Keyring(Path(texts["file"]), Usage.open(folder / "usage"))
    with asking(folder, Gate(keyring)) as client:
        yield client


@pytest.fixture(scope="module")
def household(tmp_path_factory) -> Iterator[Asker]:
    with asking(tmp_path_factory.mktemp("household"), Household()) as client:
        yield client


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """Return each route's method and template, those of included routers too."""
    found, waiting = [], list(app.routes)
    while waiting:
        route = waiting.pop()
        if hasattr(route, "effective_candidates"):
            waiting += route.effective_candidates()
        else:
            route = getattr(route, "starlette_route", None) or route
            methods = getattr(route, "methods", None) or {"WEBSOCKET"}
            found += [(method, route.path) for method in methods]
    return sorted(found)


def filled(template: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda part: PARTS.get(part[1], "x"), template)


def ask(client, method, template, key=None) -> int:
    return client.ask(method, filled(template), key=key).status


def test_without_a_key_every_route_is_refused_but_the_public_ones(client):
    routes = routes_of(client.app)
    assert len({path for _, path in routes}) > 30
    assert ("WEBSOCKET", "/v1/models/{name}/stream") in routes
    assert {("GET", "/docs"), ("GET", "/metrics"), ("POST", "/v2/models/{name}/infer")} < {*routes}
    opened = {
        (method, path)
        for _, path in routes
        for method in (*METHODS, "WEBSOCKET")
        if ask(client, method, path) != 401
    }
    assert opened == {(method, path) for method in ("GET", "HEAD") for path in PUBLIC}


def test_every_route_is_in_the_table_and_so_is_nothing_that_is_not_a_route(client):
    routes = [(method, path) for method, path in routes_of(client.app) if path != FORGOTTEN]
    assert [route for route in routes if rule_of(route[0], filled(route[1])) is None] == []
    exact = {rule.path for rule in TABLE if not rule.path.endswith("**")}
    assert exact - {path for _, path in routes} <= {"/v2/repository/index"}


def test_a_route_that_the_table_forgot_needs_an_administrator(client, texts):
    for scope in ("predict", "sessions", "metrics"):
        assert ask(client, "GET", FORGOTTEN, texts[scope]) == 403
    assert ask(client, "GET", FORGOTTEN, texts["admin"]) == 200
    assert ask(client, "GET", FORGOTTEN) == 401


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_opens_what_its_scope_says_and_no_more(client, texts, scope):
    opened = {
        path
        for method, path in routes_of(client.app)
        if ask(client, method, path, texts[scope]) not in (401, 403)
    }
    models = {"/v1/models", "/v1/models/{name}", "/v2/models/{name}"} <= opened
    assert models is (scope != "metrics")
    assert ("/metrics" in opened) is (scope == "metrics")
    assert ("/v1/models/{name}/predict" in opened) is (scope == "predict")
    assert ("/v1/models/{name}/versions/{version}/backtest" in opened) is (scope == "predict")
    assert ("/v2/models/{name}/infer" in opened) is (scope == "predict")
    assert ("/v1/sessions/{id}" in opened) is (scope == "sessions")
    assert ("/v1/models/{name}/stream" in opened) is (scope == "sessions")
    assert (FORGOTTEN in opened) is (scope == "admin")
    assert opened >= PUBLIC | {"/openapi.json", "/docs", "/v2"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/models/nobody/load"),
        ("POST", "/v2/repository/models/nobody/unload"),
        ("DELETE", "/v1/admin/anything/at/all"),
    ],
)
def test_who_administers_needs_that_scope_whether_the_route_is_there_or_not(
    client, texts, method, path
):
    assert rule_of(method, path).scopes == {"admin"}
    assert ask(client, method, path, texts["predict"]) == 403
    assert ask(client, method, path) == 401


def test_any_key_is_told_that_a_path_leads_nowhere_and_no_stranger_is(client, texts):
    assert ask(client, "GET", "/nowhere", texts["metrics"]) == 404
    assert ask(client, "PATCH", "/v1/models", texts["metrics"]) == 405
    assert ask(client, "GET", "/nowhere") == 401


@pytest.mark.parametrize(
    "path",
    [
        "//v1/models",
        "/v1//models",
        "/v1/models/",
        "/V1/models",
        "/v1/models/x/../../metrics",
        "/health/live/",
        "//health/live",
        "/health/live/../../v1/models",
        "/health/live%2f..",
        "/health/live%00",
        "/health/live%0a",
        "/health/live;x",
        "/v2/health/%2e%2e/models",
        "/./health/live/.",
    ],
)
def test_no_spelling_of_a_path_goes_around_the_table(client, path):
    assert client.ask("GET", path).status == 401


def test_a_refusal_says_what_is_wanted_as_a_problem(client, texts):
    none = client.ask("POST", "/v1/models/co2-gru/predict")
    assert none.headers["www-authenticate"] == 'Bearer realm="seqserve"'
    assert none.headers["content-type"] == "application/problem+json"
    assert none.json()["type"] == "urn:seqserve:problem:no-key"
    assert none.json()["request_id"] == none.headers["x-request-id"]
    wrong = client.ask("GET", "/v1/models", ("Authorization", "Bearer nonsense"))
    assert wrong.json()["type"] == "urn:seqserve:problem:wrong-key"
    assert 'error="invalid_token"' in wrong.headers["www-authenticate"]
    assert b"nonsense" not in wrong.body
    scope = client.ask("GET", "/v1/models", key=texts["metrics"])
    assert scope.status == 403
    assert scope.json()["detail"] == "The key needs the scope admin or predict or sessions."


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Authorization", "Bearer {}")], 200),
        ([("Authorization", "bearer {}")], 200),
        ([("authorization", "BEARER   {} ")], 200),
        ([("X-API-Key", "{}")], 200),
        ([("Authorization", "{}")], 401),
        ([("Authorization", "Basic {}")], 401),
        ([("Authorization", "Bearer {}, Bearer {}")], 401),
        ([("Authorization", "Bearer {}"), ("X-API-Key", "{}")], 401),
        ([("X-API-Key", "{}"), ("X-API-Key", "{}")], 401),
        ([("X-API-Key", "")], 401),
        ([("Cookie", "key={}")], 401),
    ],
)
def test_one_key_is_shown_once_in_one_of_two_headers(client, texts, headers, status):
    sent = [(name, value.replace("{}", texts["predict"])) for name, value in headers]
    assert client.ask("GET", "/v1/models", *sent).status == status


def test_a_key_in_the_address_is_no_key(client, texts):
    for name in ("key", "api_key", "access_token"):
        assert client.ask("GET", f"/v1/models?{name}={texts['predict']}").status == 401


def test_refusals_are_counted_under_routes_that_are_there(client, texts):
    for path in ("/v1/models/a/predict", "/v1/models/b/predict", "/made/up", "/%E2%80%A8"):
        client.ask("POST", path)
    client.ask("X" * 50, "/v1/models")
    shown = client.ask("GET", "/metrics", key=texts["metrics"]).body.decode()
    line = r'seqserve_requests_total\{method="(.*?)",route="(.*?)",status="(.*?)"'
    counted = re.findall(line, shown)
    known = {path for _, path in routes_of(client.app)} | {rule.path for rule in TABLE} | {"none"}
    assert {("POST", "/v1/models/{name}/predict", "401"), ("POST", "none", "401")} <= {*counted}
    assert {route for _, route, _ in counted} <= known
    assert {method for method, _, _ in counted} <= {*METHODS[:7], "other"}


def test_a_key_that_was_made_just_now_opens_at_once(client, texts):
    Keys(Path(texts["file"]).parent).add("second")
    second = Keys(Path(texts["file"]).parent).add("third")
    assert ask(client, "GET", "/v1/models", key=second) == 200


async def test_many_wrong_keys_share_a_look_and_one_made_meanwhile_opens(tmp_path, monkeypatch):
    keys, wrong = Keys(tmp_path), [issue().text for _ in range(300)]
    keys.add("old")
    door = Gate(Keyring(keys.path, Usage.open(tmp_path / "usage")))
    begun, answers, looks, stamp = threading.Event(), threading.Event(), [], ring._stamp

    def looked(path):
        found = stamp(path)
        looks.append(found)
        begun.set()
        answers.wait(10)
        return found

    def enter(text):
        asked = {"type": "http", "method": "GET", "path": "/v1/models"}
        return asyncio.create_task(door.enter(asked | {"headers": [(b"x-api-key", text.encode())]}))

    monkeypatch.setattr(ring, "_stamp", looked)
    monkeypatch.setattr(gate, "PATIENCE", 10.0)
    first = enter(wrong.pop())
    await within(asyncio.to_thread(begun.wait, 10))
    new = await asyncio.to_thread(keys.add, "new")  # which the look under way has missed
    entering = [enter(text) for text in (*wrong, new)]
    await asyncio.sleep(0)
    answers.set()
    *refused, visitor = await within(
        asyncio.gather(first, *entering, return_exceptions=True), seconds=10
    )
    assert visitor.grant.name == "new"
    assert {type(each) for each in refused} == {WrongKey}
    assert len(looks) == 2


def test_a_disk_that_does_not_answer_holds_up_no_key_that_is_known(client, texts, monkeypatch):
    answers = threading.Event()
    monkeypatch.setattr(ring, "_stamp", lambda _: answers.wait(10))
    monkeypatch.setattr(gate, "PATIENCE", 0.05)
    try:
        assert ask(client, "GET", "/v1/models", key=issue().text) == 401  # which is looked for
        assert ask(client, "GET", "/v1/models", key=texts["predict"]) == 200
    finally:
        answers.set()


async def test_a_request_is_counted_when_whoever_has_the_file_of_counts_lets_go(
    tmp_path, monkeypatch
):
    text = Keys(tmp_path).add("acme", "--rate", "2/s")
    door = Gate(Keyring(tmp_path / "keys.json", Usage.open(tmp_path / "usage")))
    grant = door.find("POST", "/v1/models/small/predict", [(b"x-api-key", text.encode())])
    with (tmp_path / "usage").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not door.passes(grant)  # the long way waits, and no thread does
        charged = asyncio.create_task(door.charge(grant))
        await asyncio.sleep(5 * gate.A_MOMENT)
        assert not charged.done()
        fcntl.flock(other, fcntl.LOCK_UN)
        await within(charged)
        assert door.passes(grant)
        assert not door.passes(grant)
        fcntl.flock(other, fcntl.LOCK_EX)
        monkeypatch.setattr(gate, "PATIENCE", 0.0)
        with pytest.raises(UsageUnavailable):
            await door.charge(grant)


def test_strangers_let_in_without_keys_predict_and_do_not_administer(tmp_path):
    with asking(tmp_path, Strangers()) as client:
        paths = ("/v1/models", "/metrics", "/docs", "/nowhere", FORGOTTEN, "/v1/admin/x")
        statuses = [ask(client, "GET", path) for path in paths]
        unload = ask(client, "POST", "/v2/repository/models/nobody/unload")
        stream = ask(client, "WEBSOCKET", "/v1/models/{name}/stream")
    assert statuses == [200, 200, 200, 404, 401, 401]
    assert (unload, stream) == (401, 503)  # there is no engine


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"Host": "127.0.0.1:8000"}, False),
        ({"Host": "localhost"}, False),
        ({"Host": "[::1]:8000"}, False),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, False),
        ({"Host": "localhost:8000", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Host": "localhost:8000", "Origin": "http://localhost:3000"}, True),
        ({"Host": "localhost:8000", "Origin": "null"}, True),
        ({"Host": "127.0.0.1:8000", "Origin": "https://evil.example"}, True),
        ({"Host": "127.0.0.1:8000", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Host": "127.0.0.1:8000", "Sec-Fetch-Site": "same-site"}, True),
        ({"Host": "127.0.0.1.evil.example"}, True),
        ({"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}, True),
        ({}, True),
    ],
)
def test_without_keys_no_page_of_another_site_administers_by_a_browser_here(
    household, headers, refused
):
    asked = household.ask("POST", "/v2/repository/models/nobody/unload", *headers.items())
    forgotten = household.ask("GET", filled(FORGOTTEN), *headers.items())
    models = household.ask("GET", "/v1/models", *headers.items())
    assert (asked.status == 403) is (forgotten.status == 403) is refused
    assert models.status == 200


@pytest.mark.parametrize(
    "place", ["http://{}/m.onnx", "//{}/m", "file:///etc/passwd", "\\\\{}\\m", "s3://{}/m"]
)
def test_no_address_is_taken_for_a_model(household, place):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        name = place.format(f"127.0.0.1:{listening.getsockname()[1]}")
        quoted, here = quote(name, safe=""), ("Host", "localhost")
        wanted = json.dumps({"parameters": {"config": name, "url": name}})
        told = [
            household.ask("POST", f"/v2/repository/models/{quoted}/load", here),
            household.ask("POST", "/v2/repository/models/m/load", here, body=wanted),
            household.ask("PUT", f"/v1/admin/models/{quoted}", here, body="{}"),
            household.ask("POST", f"/v1/models/{quoted}/predict", body="{}"),
        ]
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert {each.status for each in told} <= {404, 422, 503}  # there is no engine


def test_the_document_says_what_each_operation_needs(client, texts, household):
    document = client.ask("GET", "/openapi.json", key=texts["metrics"]).json()
    needs = {
        (method, path): "scope" in operation.get("description", "")
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if {"401", "403", "429"} <= operation["responses"].keys() and operation["security"]
    }
    assert needs[("post", "/v1/models/{name}/predict")] is True
    assert {path for path in document["paths"] if ("get", path) not in needs} >= PUBLIC
    assert set(needs.values()) == {True}
    assert "securitySchemes" not in household.ask("GET", "/openapi.json").json()["components"]
