"""Sessions over HTTP: the calls, their answers, and what they refuse."""

import time

import pytest

from service.sessions.errors import StoreUnavailable
from service.sessions.sqlite import SqliteStore
from service.sessions.store import Limits
from service.settings import Settings
from tests.http.inprocess import ATTENTION, GRU, SMALL, Service, running, weeks
from tests.sessions.house import publish


@pytest.fixture
async def service(tmp_path):
    async with running(SMALL, SqliteStore(tmp_path / "sessions.db")) as service:
        yield service


async def opened(service: Service, body: object = None, model: str = GRU, **options) -> dict:
    answer = await service.client.post(f"/v1/models/{model}/sessions", json=body or {}, **options)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/sessions/{answer.json()['session']}"
    return answer.json()


async def step(service: Service, session: str, number: object, body: object, **options):
    return await service.client.post(f"/v1/sessions/{session}/steps/{number}", json=body, **options)


def problem(answer, status: int, kind: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == f"urn:seqserve:problem:{kind}"
    return document


async def test_steps_forecast_what_the_whole_series_would(service):
    series = weeks(120)
    session = (await opened(service, {"values": series[:100]}))["session"]
    for number, until in enumerate(range(101, 121), start=1):
        taken = await step(service, session, number, {"values": [series[until - 1]]})
        whole = await service.predict({"sequences": [series[max(0, until - 104) : until]]})
        assert taken.json()["prediction"] == whole.json()["predictions"][0]
        assert taken.json()["count"] == until


async def test_a_history_is_forecast_at_once_with_what_was_asked(service):
    body = {"values": weeks(30), "start": "2026-01-01T00:00:00Z", "quantiles": [0.5]}
    answer = await opened(service, body)
    assert answer["step"] == 0
    assert answer["model"] == GRU
    assert list(answer["prediction"]["quantiles"]) == ["0.5"]
    first = answer["prediction"]["timestamps"][0]
    taken = (await step(service, answer["session"], 1, {"values": [341.0]})).json()
    assert taken["prediction"]["timestamps"][0] > first


async def test_while_there_are_too_few_inputs_there_is_no_forecast_but_no_error(service):
    session = (await opened(service))["session"]
    card = (await service.client.get(f"/v1/models/{GRU}")).json()["card"]
    least = card["min_length"]
    early = (await step(service, session, 1, {"values": weeks(least - 1)})).json()
    assert early["prediction"] is None
    assert early["missing"] == 1
    last = (await step(service, session, 2, {"values": [340.0]})).json()
    assert last["prediction"]["mean"]
    assert "missing" not in last


async def test_the_last_step_again_is_the_same_bytes_and_says_so(service):
    session = (await opened(service, {"values": weeks(30)}))["session"]
    first = await step(service, session, 1, {"values": [341.5]})
    again = await step(service, session, 1, {"values": [341.5]})
    assert again.content == first.content
    assert again.headers["idempotent-replay"] == "true"
    assert "idempotent-replay" not in first.headers


async def test_what_does_not_follow_is_told_what_would(service):
    session = (await opened(service, {"values": weeks(30)}))["session"]
    await step(service, session, 1, {"values": [341.5]})
    for number in (3, 999):
        document = problem(
            await step(service, session, number, {"values": [1.0]}), 409, "wrong-step"
        )
        assert document["expected_step"] == 2
    problem(await step(service, session, 1, {"values": [9.0]}), 422, "other-payload")


@pytest.mark.parametrize("number", ["-1", "0", "01", "1.0", "x", "9" * 30, "²"])
async def test_what_is_no_step_number_is_refused(service, number):
    session = (await opened(service))["session"]
    problem(await step(service, session, number, {"values": [1.0]}), 422, "invalid-request")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"values": []},
        {"values": [[1, 2]]},
        {"values": ["1"]},
        {"values": [1e300]},
        {"values": [1.0], "quantiles": [0.42]},
        {"values": [1.0], "explain": ["attention"]},
        {"values": [1.0], "extra": 1},
        {"values": [1.0], "future": [[1.0]]},
        [1.0],
    ],
)
async def test_a_step_that_does_not_fit_is_refused_and_not_taken(service, body):
    session = (await opened(service, {"values": weeks(30)}))["session"]
    answer = await step(service, session, 1, body)
    assert answer.status_code == 422
    assert (await step(service, session, 1, {"values": [341.0]})).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"values": [[1, 2, 3]]},
        {"start": "yesterday"},
        {"static": {"region": "north"}},
        {"quantiles": [0.5]},
        {"state": "abc", "values": [1.0]},
        {"state": "abc"},
        {"nothing": 1},
    ],
)
async def test_what_no_session_can_begin_with_is_refused(service, body):
    answer = await service.client.post(f"/v1/models/{GRU}/sessions", json=body)
    assert answer.status_code == 422
    assert (await service.client.get("/metrics")).status_code == 200


async def test_a_session_says_where_it_stands_and_is_gone_when_closed(service):
    session = (await opened(service, {"values": weeks(60)}))["session"]
    for number, value in enumerate(weeks(5), start=1):
        await step(service, session, number, {"values": [value]})
    told = (await service.client.get(f"/v1/sessions/{session}")).json()
    assert (told["step"], told["expected_step"], told["count"]) == (5, 6, 65)
    assert told["live_accuracy"]["co2"]["steps"] == 5
    assert told["created"] <= told["touched"] < told["expires"]
    model = (await service.client.get(f"/v1/models/{GRU}")).json()
    assert model["live_accuracy"]["co2"]["steps"] == pytest.approx(5, abs=0.1)
    metrics = (await service.client.get("/metrics")).text
    assert f'seqserve_live_steps_total{{model="{GRU}",target="co2",version="1"}} 5.0' in metrics
    assert 'seqserve_session_steps_total{outcome="taken"} 5.0' in metrics
    assert (await service.client.delete(f"/v1/sessions/{session}")).status_code == 204
    problem(await service.client.get(f"/v1/sessions/{session}"), 410, "session-gone")
    problem(await step(service, session, 6, {"values": [1.0]}), 410, "session-gone")
    problem(await service.client.delete("/v1/sessions/nobody"), 404, "session-not-found")


async def test_another_tenants_session_is_not_found(service):
    session = (await opened(service, headers={"x-tenant": "me"}))["session"]
    you = {"x-tenant": "you"}
    problem(
        await step(service, session, 1, {"values": [1.0]}, headers=you), 404, "session-not-found"
    )
    path = f"/v1/sessions/{session}"
    for method, call in (("GET", path), ("DELETE", path), ("GET", f"{path}/state")):
        answer = await service.client.request(method, call, headers=you)
        problem(answer, 404, "session-not-found")
    for bad in ({"x-tenant": "a b"}, [("x-tenant", "me"), ("x-tenant", "you")]):
        answer = await service.client.get(path, headers=bad)
        assert problem(answer, 422, "invalid-request")["detail"].startswith("x-tenant: ")


async def test_a_state_is_exported_restored_and_opens_sessions(service):
    session = (await opened(service, {"values": weeks(40)}))["session"]
    await step(service, session, 1, {"values": [341.0]})
    state = (await service.client.get(f"/v1/sessions/{session}/state")).json()
    expected = (await step(service, session, 2, {"values": [342.0]})).json()["prediction"]

    restored = await service.client.put(f"/v1/sessions/{session}/state", json=state)
    assert restored.json()["expected_step"] == 4  # it took a number itself
    assert (await step(service, session, 4, {"values": [342.0]})).json()["prediction"] == expected

    copy = (await opened(service, state))["session"]
    assert (await step(service, copy, 2, {"values": [342.0]})).json()["prediction"] == expected

    changed = {"state": ("A" if state["state"][0] != "A" else "B") + state["state"][1:]}
    for answer in (
        await service.client.post(f"/v1/models/{GRU}/sessions", json=changed),
        await service.client.put(f"/v1/sessions/{session}/state", json=changed),
        await service.client.post("/v1/models/co2-lstm/sessions", json=state),
    ):
        problem(answer, 422, "not-a-session")


async def test_a_fork_is_a_session_of_its_own(service):
    session = (await opened(service, {"values": weeks(40)}))["session"]
    forked = await service.client.post(f"/v1/sessions/{session}/fork")
    assert forked.status_code == 201
    fork = forked.json()["session"]
    assert forked.headers["location"] == f"/v1/sessions/{fork}"
    one = (await step(service, session, 1, {"values": [341.0]})).json()
    two = (await step(service, fork, 1, {"values": [341.0]})).json()
    assert one["prediction"] == two["prediction"]
    assert one["session"] != two["session"]


async def test_steps_of_many_sessions_go_in_one_request(service):
    sessions = [(await opened(service, {"values": weeks(30 + n)}))["session"] for n in range(20)]
    steps = [{"session": one, "step": 1, "values": [341.0 + n]} for n, one in enumerate(sessions)]
    steps.append({"session": sessions[0], "step": 2, "values": [342.0]})
    steps.append({"session": sessions[1], "step": 7, "values": [342.0]})
    steps.append({"session": "nobody", "step": 1, "values": [342.0]})
    answer = await service.client.post(f"/v1/models/{GRU}/steps", json={"steps": steps})
    told = answer.json()["answers"]
    assert [one["status"] for one in told] == [200] * 21 + [409, 404]
    assert [one["answer"]["session"] for one in told[:20]] == sessions
    assert told[20]["answer"]["step"] == 2
    assert told[21]["problem"]["expected_step"] == 2
    assert (told[22]["session"], told[22]["step"]) == ("nobody", 1)
    assert "retry_after" not in told[22]["problem"]
    metrics = (await service.client.get("/metrics")).text
    assert 'seqserve_session_steps_total{outcome="refused"} 2.0' in metrics
    assert "seqserve_refused_requests_total{" not in metrics  # the request was answered
    alone = await step(service, sessions[5], 1, {"values": [346.0]})
    assert alone.headers["idempotent-replay"] == "true"
    assert alone.json() == told[5]["answer"]


@pytest.mark.parametrize("room", [1, 2, 5])
async def test_a_request_of_more_steps_than_may_wait_is_taken_whole(tmp_path, room):
    few = SMALL.model_copy(update={"max_sequences": room, "max_waiting": room})
    async with running(few, SqliteStore(tmp_path / "sessions.db")) as service:
        sessions = [(await opened(service))["session"] for _ in range(17)]
        steps = [{"session": one, "step": 1, "values": weeks(30)} for one in sessions]
        answer = await service.client.post(f"/v1/models/{GRU}/steps", json={"steps": steps})
        assert [one["status"] for one in answer.json()["answers"]] == [200] * 17


async def test_each_of_many_steps_says_whether_it_may_be_sent_again(service, monkeypatch):
    session = (await opened(service, {"values": weeks(30)}))["session"]

    async def down(*_):
        raise StoreUnavailable("the store is down")

    monkeypatch.setattr(SqliteStore, "write", down)
    body = {"steps": [{"session": session, "step": 1, "values": [341.0]}]}
    answer = await service.client.post(f"/v1/models/{GRU}/steps", json=body)
    (told,) = answer.json()["answers"]
    assert (told["status"], told["problem"]["retry_after"]) == (503, 1)


@pytest.mark.parametrize("way", ["sessions", "predict"])
@pytest.mark.parametrize(
    "more",
    [
        {"quantiles": [0.5] * 1_000},
        {"quantiles": [""] * 20_000},
        {"explain": [1] * 20_000},
        {str(number): 1 for number in range(10_000)},
    ],
    ids=["levels", "no levels", "explain", "keys"],
)
async def test_what_is_too_much_is_refused_in_little_time(service, way, more):
    values = {"values": weeks(30)} if way == "sessions" else {"sequences": [weeks(30)]}
    began = time.perf_counter()
    answer = await service.client.post(f"/v1/models/{GRU}/{way}", json=values | more)
    assert answer.status_code == 422
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [{"session": "a", "values": [1]}]}, "steps[0].step"),
        ({"steps": [{"session": "a", "step": 1, "values": [1]}, 5]}, "steps[1]"),
        ({"steps": [{"session": "a", "step": "1", "values": [1]}]}, "steps[0].step"),
        ({"steps": [{"session": "a", "step": 1, "values": [1, "x"]}]}, "steps[0].values[1]"),
        ({"steps": [{"session": "a", "step": 1, "values": [1]}] * 11}, "steps"),
    ],
)
async def test_a_request_that_is_no_list_of_steps_is_refused_with_the_place(tmp_path, body, place):
    settings = Settings(**SMALL.model_dump() | {"max_steps": 10})
    async with running(settings, SqliteStore(tmp_path / "sessions.db")) as service:
        answer = await service.client.post(f"/v1/models/{GRU}/steps", json=body)
    assert problem(answer, 422, "invalid-request")["detail"].startswith(f"{place}: ")


async def test_a_store_that_is_down_is_a_503_everywhere_and_predictions_go_on(service, monkeypatch):
    session = (await opened(service, {"values": weeks(30)}))["session"]

    async def down(*_):
        raise StoreUnavailable("the store is down")

    async def not_ready(_):
        return False

    with monkeypatch.context() as patched:
        for name in ("read", "write", "close_sessions"):
            patched.setattr(SqliteStore, name, down)
        patched.setattr(SqliteStore, "ready", not_ready)
        answers = [
            await step(service, session, 1, {"values": [341.0]}),
            await service.client.post(f"/v1/models/{GRU}/sessions", json={}),
            await service.client.get(f"/v1/sessions/{session}"),
            await service.client.delete(f"/v1/sessions/{session}"),
        ]
        for answer in answers:
            problem(answer, 503, "store-unavailable")
            assert answer.headers["retry-after"] == "1"
        ready = await service.client.get("/health/ready")
        assert (ready.status_code, ready.json()["store"]) == (503, False)
        assert (await service.predict({"sequences": [weeks(30)]})).status_code == 200
    assert (await service.client.get("/health/ready")).json()["store"] is True
    assert (await step(service, session, 1, {"values": [341.0]})).status_code == 200


async def test_a_tenant_that_has_too_much_gets_429_and_a_full_service_503(tmp_path):
    limits = Limits(sessions=2, tenant_sessions=1)
    store = SqliteStore(tmp_path / "sessions.db", limits=limits)
    async with running(SMALL, store) as service:
        await opened(service)
        path = f"/v1/models/{GRU}/sessions"
        problem(await service.client.post(path, json={}), 429, "too-many-sessions")
        await opened(service, headers={"x-tenant": "b"})
        full = await service.client.post(path, json={}, headers={"x-tenant": "c"})
        problem(full, 503, "sessions-full")


async def test_without_a_store_there_are_no_sessions():
    async with running() as service:
        answer = await service.client.post(f"/v1/models/{GRU}/sessions", json={})
        problem(answer, 404, "not-found")
        assert (await service.client.get("/health/ready")).json()["store"] is None


async def test_a_recurrent_model_is_asked_only_what_is_new(tmp_path):
    publish(tmp_path / "models")
    settings = Settings(**SMALL.model_dump() | {"models": tmp_path / "models"})
    async with running(settings, SqliteStore(tmp_path / "sessions.db")) as service:
        session = (await opened(service, {"values": list(range(100))}, "sum"))["session"]
        taken = await step(service, session, 1, {"values": [1.0, None, 2.0]})
        assert taken.json()["prediction"]["mean"] == [4953.0, 4953.0]
        size = (await service.client.get(f"/v1/sessions/{session}")).json()["bytes"]
        assert size < 2_000


async def test_the_examples_of_the_docs_page_work_when_pasted(service):
    paths = (await service.client.get("/openapi.json")).json()["paths"]

    def example(path: str, model: str, method: str = "post") -> dict:
        body = paths[path][method]["requestBody"]["content"]["application/json"]
        return body["examples"][model]["value"]

    for model in (GRU, ATTENTION):
        session = await opened(service, example("/v1/models/{name}/sessions", model), model)
        assert session["prediction"]["mean"]
        body = example("/v1/sessions/{id}/steps/{n}", model)
        taken = await step(service, session["session"], 1, body)
        assert taken.json()["prediction"]["mean"]
        many = example("/v1/models/{name}/steps", model)
        many["steps"][0] |= {"session": session["session"], "step": 2}
        told = await service.client.post(f"/v1/models/{model}/steps", json=many)
        assert told.json()["answers"][0]["status"] == 200
    assert example("/v1/sessions/{id}/state", GRU, "put").keys() == {"state"}


async def test_nobodys_nonsense_hides_how_good_the_forecasts_of_all_others_are(service):
    session = (await opened(service, {"values": weeks(30)}))["session"]
    for number, value in enumerate((3.4e38, -3.4e38, 1.0), start=1):
        await step(service, session, number, {"values": [value]})
    model = (await service.client.get(f"/v1/models/{GRU}")).json()
    measured = model["card"]["accuracy"]["targets"]["co2"]["mae"]
    assert model["live_accuracy"]["co2"]["mae"] <= 1_000 * measured
