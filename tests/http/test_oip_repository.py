"""The repository extension: every version with its state, and versions that come and go."""

import pytest

from models.repository import Repository
from service.http.schemas.oip_repository import IndexEntry, LoadRequest, UnloadRequest
from tests.engine.test_core import publish, publish_garbage
from tests.http.inprocess import SMALL, Service, running

INDEX = "/v2/repository/index"


@pytest.fixture
async def service(tmp_path):
    """Serve a model of two versions, beside a third that cannot."""
    repository = Repository(tmp_path)
    publish(repository)
    publish(repository)
    publish_garbage(repository)
    async with running(SMALL.model_copy(update={"models": tmp_path, "watch_s": 0})) as service:
        yield service


async def index(service: Service, **body) -> dict[str, tuple[str, str]]:
    answer = await service.client.post(INDEX, json=body)
    assert answer.status_code == 200, answer.text
    entries = [IndexEntry.model_validate(entry) for entry in answer.json()]
    assert {entry.name for entry in entries} <= {"small"}
    return {entry.version: (entry.state, entry.reason) for entry in entries}


async def change(service: Service, call, name="small", **parameters):
    path = f"/v2/repository/models/{name}/{call}"
    return await service.client.post(path, json={"parameters": parameters})


async def answering(service: Service) -> str | None:
    inputs = [{"name": "sequences", "shape": [1, 3, 1], "datatype": "FP32", "data": [1, 2, 3]}]
    answer = await service.client.post("/v2/models/small/infer", json={"inputs": inputs})
    return answer.json().get("model_version")


async def test_the_index_says_of_every_version_where_it_stands_and_why(service: Service):
    found = await index(service)
    assert [state for state, _ in found.values()] == ["UNAVAILABLE", "READY", "UNAVAILABLE"]
    assert found["2"] == ("READY", "")
    assert "no ONNX model" in found["3"][1]
    assert list(await index(service, ready=True)) == ["2"]
    for headers in ({}, {"content-type": "application/octet-stream"}):
        assert (await service.client.post(INDEX, headers=headers)).status_code == 200


async def test_a_version_is_loaded_and_unloaded_by_its_number(service: Service):
    assert await answering(service) == "2"
    loaded = await change(service, "load", version=1)
    assert loaded.status_code == 200
    assert [entry["state"] for entry in loaded.json()] == ["READY", "READY", "UNAVAILABLE"]
    gone = await change(service, "unload", version=2)
    assert [entry["state"] for entry in gone.json()] == ["READY", "UNAVAILABLE", "UNAVAILABLE"]
    assert await answering(service) == "1"


async def test_a_model_that_is_unloaded_answers_nobody_until_it_is_loaded(service: Service):
    assert (await change(service, "unload", unload_dependents=True)).status_code == 200
    assert await answering(service) is None
    assert (await service.client.get("/v2/models/small/ready")).status_code == 404
    assert await index(service, ready=True) == {}
    assert (await service.client.post("/v2/repository/models/small/load")).status_code == 503
    assert await answering(service) == "2"  # the newest is broken, and said to be
    assert (await change(service, "load", version=2)).status_code == 200
    assert await answering(service) == "2"


@pytest.mark.parametrize(
    ("call", "body", "status", "says"),
    [
        ("models/unknown/load", {}, 404, "There is no model 'unknown'"),
        ("models/small/load", {"parameters": {"version": 9}}, 404, "in version 9"),
        ("models/small/unload", {"parameters": {"version": 9}}, 404, "in version 9"),
        ("models/small/load", {"parameters": {"version": 3}}, 503, "no ONNX model"),
        ("models/small/load", {"parameters": {"version": "2"}}, 422, "parameters.version"),
        ("models/small/load", {"parameters": {"version": 0}}, 422, "parameters.version"),
        ("models/small/load", {"parameters": {"config": "{}"}}, 422, "parameters.config"),
        ("models/small/load", {"parameters": {"file:1/a.onnx": "AAAA"}}, 422, "parameters.file:1"),
        ("models/small/load", {"url": "http://elsewhere"}, 422, "url"),
        ("models/small/unload", {"parameters": {"unload_dependents": 1}}, 422, "parameters.unload"),
        ("models/small/unload", [], 422, "the body"),
        ("models/..%2fsmall/load", {}, 404, ""),
        ("index", {"ready": 1}, 422, "ready"),
        ("index", {"repository_name": "x"}, 422, "repository_name"),
    ],
    ids=range(14),
)
async def test_what_cannot_be_done_is_refused_and_nothing_changes(
    service: Service, call, body, status, says
):
    answer = await service.client.post(f"/v2/repository/{call}", json=body)
    assert answer.status_code == status
    assert says in answer.json()["detail"]
    assert answer.json()["error"] == answer.json()["detail"]
    assert await answering(service) == "2"


async def test_openapi_describes_the_bodies(service: Service):
    document = (await service.client.get("/openapi.json")).json()
    for wire, path in ((LoadRequest, "load"), (UnloadRequest, "unload")):
        operation = document["paths"][f"/v2/repository/models/{{name}}/{path}"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert schema["$ref"].endswith(wire.__name__)
        assert wire.__name__ in document["components"]["schemas"]
