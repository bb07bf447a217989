"""Steps over a WebSocket, against the real service and over a real socket."""

import asyncio
import json

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from examples.serving import serving
from tests.http.inprocess import weeks

GRU = "co2-gru"
pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    store = {"SEQSERVE_STORE": f"sqlite:///{folder}/sessions.db"}
    with serving(folder / "service.log", "--provider", "cpu", environment=store) as service:
        yield service.url


def opened(url: str, history: int = 30, tenant: str = "") -> str:
    path, headers = f"{url}/v1/models/{GRU}/sessions", {"x-tenant": tenant}
    answer = httpx.post(path, json={"values": weeks(history)}, headers=headers)
    session: str = answer.json()["session"]
    return session


def stream(url: str, model: str = GRU, **options):
    return connect(f"{url.replace('http', 'ws')}/v1/models/{model}/stream", **options)


def message(session: str, number: int, *values: float) -> str:
    return json.dumps({"session": session, "step": number, "values": values or (341.0,)})


async def test_steps_are_answered_in_order_with_the_numbers_of_http(url):
    one, two = opened(url), opened(url)
    series = weeks(40, 341)
    async with stream(url) as socket:
        for number, value in enumerate(series, start=1):
            await socket.send(message(one, number, value))
        told = [json.loads(await socket.recv()) for _ in series]
    assert [each["answer"]["step"] for each in told] == list(range(1, 41))
    async with httpx.AsyncClient(base_url=url) as client:
        for number, value in enumerate(series, start=1):
            path = f"/v1/sessions/{two}/steps/{number}"
            alone = (await client.post(path, json={"values": [value]})).json()
            assert alone["prediction"] == told[number - 1]["answer"]["prediction"]


async def test_what_is_wrong_is_said_in_its_place_and_the_stream_goes_on(url):
    session = opened(url)
    asked = [
        message(session, 1),
        "{",
        "[]",
        message(session, 5),
        message("nobody", 1),
        json.dumps({"session": session, "step": 2, "values": ["x"]}),
        message(session, 1),
        message(session, 2),
    ]
    async with stream(url) as socket:
        for each in asked:
            await socket.send(each)
        told = [json.loads(await socket.recv()) for _ in asked]
        await socket.send(message(session, 3).encode())
        told.append(json.loads(await socket.recv()))
    assert [each["status"] for each in told] == [200, 400, 422, 409, 404, 422, 200, 200, 200]
    assert told[3]["problem"]["expected_step"] == 2
    assert told[3]["session"] == session
    assert told[6] == told[0] | {"replayed": True}
    assert "steps" not in told[5]["problem"]["detail"]


async def test_a_model_that_is_not_there_and_a_bad_tenant_refuse_the_handshake(url):
    with pytest.raises(InvalidStatus) as refused:
        async with stream(url, "nobody"):
            pass
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["type"] == "urn:seqserve:problem:model-not-found"
    with pytest.raises(InvalidStatus) as refused:
        async with stream(url, additional_headers={"x-tenant": "a b"}):
            pass
    assert refused.value.response.status_code == 422
    assert b"x-tenant: " in refused.value.response.body


async def test_a_stream_that_ended_is_counted(url):
    async with stream(url):
        pass
    async with httpx.AsyncClient(base_url=url) as client:
        counted = 'route="/v1/models/{name}/stream",status="101"'
        while counted not in (await client.get("/metrics")).text:
            pass  # until the service has seen its end


async def test_a_stream_sees_its_tenants_sessions_alone(url):
    session = opened(url, tenant="me")
    statuses = []
    for tenant in ("you", "me"):
        async with stream(url, additional_headers={"x-tenant": tenant}) as socket:
            await socket.send(message(session, 1))
            statuses.append(json.loads(await socket.recv())["status"])
    assert statuses == [404, 200]


async def test_who_does_not_read_is_not_read_from_and_loses_nothing(url):
    sessions = [opened(url) for _ in range(4)]
    sent, count = 0, 20_000
    async with stream(url, max_queue=1, write_limit=1) as socket:
        try:
            for number in range(1, count):
                for session in sessions:
                    # What fills the sockets on both ways before the service stops to read.
                    padded = message(session, number) + " " * 2_000
                    await asyncio.wait_for(socket.send(padded), 2)
                    sent += 1
        except TimeoutError:
            pass
        assert 0 < sent < count
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/health/live")).status_code == 200
        told = [json.loads(await socket.recv()) for _ in range(sent)]
    for place, session in enumerate(sessions):
        own = told[place::4]
        assert [each["answer"]["step"] for each in own] == list(range(1, len(own) + 1))
        assert {each["answer"]["session"] for each in own} == {session}


async def test_a_client_that_leaves_in_the_middle_leaves_its_sessions_well(url):
    session = opened(url)
    socket = await stream(url)
    for number in range(1, 200):
        await socket.send(message(session, number))
    socket.transport.abort()
    async with httpx.AsyncClient(base_url=url) as client:
        before = -1
        while before != (told := (await client.get(f"/v1/sessions/{session}")).json())["step"]:
            before = told["step"]
            await asyncio.sleep(0.2)
        path = f"/v1/sessions/{session}/steps/{told['expected_step']}"
        assert (await client.post(path, json={"values": [340.0]})).status_code == 200
