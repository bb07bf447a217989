"""Sessions of models with covariates: what the whole series gets, step by step."""

import numpy as np
import pytest

from models.repository import Repository
from service.sessions.sqlite import SqliteStore
from tests.http.inprocess import SMALL, running
from tests.http.weighing import CARDS, HORIZON, START, Weighing, load

GIVEN = {
    "calendar": {"start": START},
    "months": {"start": "2023-11-30"},
    "static": {"static": {"size": 2.5, "region": "south"}},
    "made": {"start": START, "static": {"size": 2.5, "region": "south"}},
    "all": {"start": START, "static": {"size": 2.5, "region": "north"}},
}


@pytest.fixture
async def service(tmp_path):
    for card in CARDS:
        Repository(tmp_path / "models").publish(card.name, Weighing(card).write)
    settings = SMALL.model_copy(update={"models": tmp_path / "models"})
    async with running(settings, SqliteStore(tmp_path / "sessions.db")) as service:
        yield service


@pytest.mark.parametrize("name", list(GIVEN))
async def test_each_step_gets_the_answer_of_the_whole_series(service, name):
    values, future = load(60), {}
    if name == "all":
        values = np.hstack([load(60), load(60, 3.0), load(60, -1.0)])
        future = {"future": load(HORIZON, 2.0).tolist()}
    opening = {"values": values[:20].tolist()} | GIVEN[name] | future
    opened = await service.client.post(f"/v1/models/{name}/sessions", json=opening)
    session = opened.json()["session"]
    said = [opened.json()["prediction"]]
    for number, until in enumerate((21, 25, 40, 41, 60), start=1):
        begin = {1: 20, 2: 21, 3: 25, 4: 40, 5: 41}[number]
        body = {"values": values[begin:until].tolist()} | future
        told = await service.client.post(f"/v1/sessions/{session}/steps/{number}", json=body)
        said.append(told.json()["prediction"])
    for until, found in zip((20, 21, 25, 40), said, strict=False):
        whole = {"values": values[:until].tolist()} | GIVEN[name] | future
        answer = await service.predict({"sequences": [whole]}, name)
        assert answer.json()["predictions"][0] == found
    assert said[-1]["quantiles"]["0.5"] != said[-2]["quantiles"]["0.5"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("calendar", {}),
        ("static", {}),
        ("static", {"static": {"size": 1.0}}),
        ("static", {"static": {"size": 1.0, "region": "west"}}),
        ("static", {"static": {"size": 1.0, "region": "south", "more": 1.0}}),
        ("made", {"static": {"size": 1.0, "region": "south"}}),
        ("all", {"start": START}),
    ],
)
async def test_what_every_step_would_fail_for_opens_no_session(service, name, body):
    answer = await service.client.post(f"/v1/models/{name}/sessions", json=body)
    assert answer.status_code == 422


async def test_a_step_without_the_future_that_its_forecast_needs_is_refused(service):
    body = {"start": START, "static": {"size": 2.5, "region": "north"}}
    opened = await service.client.post("/v1/models/all/sessions", json=body)
    path = f"/v1/sessions/{opened.json()['session']}/steps/1"
    refused = await service.client.post(path, json={"values": [[1.0, 2.0, 3.0]]})
    assert refused.status_code == 422
    future = {"values": [[1.0, 2.0, 3.0]], "future": load(HORIZON).tolist()}
    assert (await service.client.post(path, json=future)).status_code == 200
