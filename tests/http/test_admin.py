"""Versions, aliases and traffic over HTTP, by the answers of models that add their own number."""

from collections import Counter
from contextlib import asynccontextmanager

import pytest

from models.repository import Repository
from service.engine.catalogue import MAIN
from tests.engine.test_core import publish, publish_garbage
from tests.engine.test_lifecycle import until
from tests.http.inprocess import SMALL, running

ADMIN = "/v1/admin/models/small"
ASKED = {"sequences": [[1, 2, 100]]}
WATCHED = SMALL.model_copy(update={"watch_s": 0.05})


@pytest.fixture
def repository(tmp_path) -> Repository:
    found = Repository(tmp_path / "models")
    for _ in range(3):
        publish(found)
    return found


@asynccontextmanager
async def serving(repository, settings=SMALL):
    async with running(settings.model_copy(update={"models": repository.root})) as service:
        yield service


async def asked(service, version="", **headers) -> tuple[int, float]:
    """Ask for a prediction; return the version that says it answered, and what was added."""
    path = f"/versions/{version}" if version else ""
    answer = await service.client.post(
        f"/v1/models/small{path}/predict", json=ASKED, headers=headers
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return found["version"], found["predictions"][0]["mean"][0] - 100


async def call(service, method, path="", body=None, status=200, **headers):
    answer = await service.client.request(method, f"{ADMIN}{path}", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_the_newest_version_serves_and_the_state_says_so(repository):
    async with serving(repository) as service:
        found = await call(service, "GET")
        assert found["desired"]["traffic"] is None
        assert found["in_force"]["traffic"] == {"3": 1}
        assert [each["state"] for each in found["versions"]] == ["UNAVAILABLE"] * 2 + ["READY"]
        assert await asked(service) == (3, 3)
        listed = (await service.client.get("/v1/admin/models")).json()["models"]
        assert listed == [found]


async def test_a_roll_back_is_one_call_and_stays_when_more_is_published(repository):
    async with serving(repository) as service:
        found = await call(service, "POST", "/rollback")
        assert found["in_force"]["traffic"] == {"2": 1}
        assert await asked(service) == (2, 2)
        assert await asked(service, 3) == (3, 3)
        publish(repository)
        await call(service, "POST", "/load", {})
        assert await asked(service) == (2, 2)
        assert (await call(service, "POST", "/rollback", {"version": 1}))["in_force"][
            "traffic"
        ] == {"1": 1}
        refused = await call(service, "POST", "/rollback", status=409)
        assert "no version of 'small' to go back to" in refused["detail"]
        await call(service, "DELETE", "/split")
        assert await asked(service) == (4, 4)


@pytest.mark.parametrize("canary", [5, 50, 95])
async def test_who_takes_back_a_canary_goes_back_to_the_version_beside_it(repository, canary):
    async with serving(repository) as service:
        await call(service, "PUT", "/split", {"weights": {"1": 100 - canary, "3": canary}})
        found = await call(service, "POST", "/rollback")
        assert found["in_force"]["traffic"] == {"1": 1}


async def test_an_alias_is_a_version_on_every_route_of_predictions(repository):
    async with serving(repository) as service:
        await call(service, "PUT", "/aliases/stable", {"version": 1})
        assert await asked(service, "stable") == (1, 1)
        tensor = {"name": "sequences", "shape": [1, 3, 1], "datatype": "FP32", "data": [1, 2, 100]}
        answer = await service.client.post(
            "/v2/models/small/versions/stable/infer", json={"inputs": [tensor]}
        )
        assert answer.json()["model_version"] == "1"
        series = {"type": "univariate_time_series", "name": "A", "series": [1, 2, 100]}
        forecast = {
            "model": "small",
            "model_version": "stable",
            "inputs": [series | {"frequency": "hour"}],
            "options": {"horizon": 1},
        }
        answer = await service.client.post("/v1/timeseries/forecast", json=forecast)
        assert answer.json()["model_version"] == "1"
        path = "/v1/models/small/versions/stable"
        answer = await service.client.post(f"{path}/backtest", json={"series": [list(range(9))]})
        assert answer.json()["version"] == 1
        described = await service.client.get(path)
        assert described.status_code == 200
        await call(service, "PUT", "/aliases/stable", {"version": 2})
        assert await asked(service, "stable") == (2, 2)
        await call(service, "DELETE", "/aliases/stable")
        answer = await service.client.post("/v1/models/small/versions/stable/predict", json=ASKED)
        assert answer.status_code == 404


async def test_traffic_is_divided_and_a_key_keeps_its_version(repository):
    async with serving(repository) as service:
        await call(service, "PUT", "/aliases/canary", {"version": 3})
        weights = {"weights": {"2": 3, "canary": 1}}
        found = await call(service, "PUT", "/split", weights)
        assert found["in_force"]["traffic"] == {"2": 0.75, "3": 0.25}
        turns = Counter([(await asked(service))[0] for _ in range(40)])
        assert 9 <= turns[3] <= 11
        for header in ("x-routing-key", "x-request-id"):
            keyed = [await asked(service, **{header: f"user-{number % 8}"}) for number in range(40)]
            assert keyed[:8] * 5 == keyed
            assert len(set(keyed)) == 2
        main = service.engine.serving("small", MAIN)
        assert main.entry.version == 2
        described = await service.client.get("/v1/models/small")
        assert described.json()["version"] == 2


async def test_a_shadow_is_asked_unseen_and_its_difference_is_told(repository):
    async with serving(repository) as service:
        found = await call(service, "PUT", "/shadow", {"version": 2, "share": 1})
        assert found["in_force"]["shadow"] == {"version": 2, "share": 1}
        assert await asked(service) == (3, 3)
        await until(lambda: service.engine.mirror("small").outcomes["compared"] == 1)
        told = (await call(service, "GET"))["shadow"]
        assert told["requests"] == {"compared": 1, "dropped": 0, "failed": 0}
        difference = {"values": 2, "mean_absolute": 1, "largest": 1}
        assert told["differences"] == {"3": {"load": difference}}
        metrics = (await service.client.get("/metrics")).text
        label = 'model="small",target="load",version="2"'
        assert f"seqserve_shadow_absolute_difference_total{{{label}}} 2.0" in metrics
        assert f"seqserve_shadow_largest_difference{{{label}}} 1.0" in metrics
        assert (await call(service, "DELETE", "/shadow"))["shadow"] is None


async def test_unloading_is_a_404_and_loading_brings_it_back(repository):
    async with serving(repository) as service:
        await call(service, "POST", "/unload")
        answer = await service.client.post("/v1/models/small/predict", json=ASKED)
        assert answer.status_code == 404
        assert answer.json()["type"].endswith("model-withdrawn")
        assert (await service.client.get("/health/ready")).status_code == 200
        await call(service, "POST", "/load")
        await call(service, "POST", "/unload", {"version": 3})
        assert await asked(service) == (2, 2)
        answer = await service.client.post("/v1/models/small/versions/3/predict", json=ASKED)
        assert answer.status_code == 404
        found = await call(service, "POST", "/load", {"version": 3})
        assert found["desired"]["loaded"] == [3]
        assert await asked(service) == (3, 3)
        for version in (1, 2, 3):
            await call(service, "POST", "/unload", {"version": version})
        await call(service, "POST", "/load")
        assert await asked(service) == (3, 3)


async def test_a_version_that_fails_changes_nothing_and_is_said_to_fail(repository):
    broken = publish_garbage(repository)
    async with serving(repository) as service:
        found = await call(service, "GET")
        assert found["in_force"]["traffic"] == {"3": 1}
        assert "no ONNX model" in found["in_force"]["problems"][0]
        for method, path, body in (
            ("POST", "/load", {"version": broken}),
            ("POST", "/rollback", {"version": broken}),
            ("PUT", "/aliases/stable", {"version": broken}),
            ("PUT", "/split", {"weights": {"3": 1, "4": 1}}),
            ("PUT", "/shadow", {"version": broken}),
            ("PUT", "", {"traffic": {"4": 1}}),
        ):
            problem = await call(service, method, path, body, status=503)
            assert "Version 4 of 'small' could not be loaded" in problem["detail"]
        assert await call(service, "GET") == found
        assert await asked(service) == (3, 3)


async def test_the_state_is_a_document_that_nobody_overwrites_unseen(repository):
    async with serving(repository) as service:
        read = await service.client.get(ADMIN)
        tag, document = read.headers["etag"], read.json()["desired"]
        document["aliases"] = {"stable": 2}
        await call(service, "PUT", "", document, **{"if-match": tag})
        problem = await call(service, "POST", "/unload", {}, status=412, **{"if-match": tag})
        assert problem["type"].endswith("serving-changed")
        assert (await call(service, "GET"))["desired"]["aliases"] == {"stable": 2}
        await call(service, "PUT", "", {}, status=412, **{"if-match": tag})
        await call(service, "PUT", "", {}, status=422, **{"if-match": "tag"})
        await call(service, "PUT", "", {})
        assert (await call(service, "GET"))["desired"]["aliases"] == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/aliases/7", {"version": 1}, 422),
        ("PUT", "/aliases/Stable", {"version": 1}, 422),
        ("PUT", "/aliases/stable", {"version": "1"}, 422),
        ("PUT", "/aliases/stable", {"version": 9}, 404),
        ("PUT", "/aliases/stable", {}, 422),
        ("PUT", "/split", {"weights": {}}, 422),
        ("PUT", "/split", {"weights": {"3": 0}}, 422),
        ("PUT", "/split", {"weights": {"3": 1e300}}, 422),
        ("PUT", "/split", {"weights": {"canary": 1}}, 409),
        ("PUT", "/split", {"weights": {"0": 1}}, 422),
        ("PUT", "/split", None, 415),
        ("PUT", "/shadow", {"version": 1, "share": 2}, 422),
        ("PUT", "/shadow", {"version": "canary"}, 409),
        ("PUT", "", {"traffic": {"canary": 1}}, 422),
        ("PUT", "", {"withdrawn": [1], "aliases": {"stable": 1}}, 422),
        ("PUT", "", {"surplus": 1}, 422),
        ("PUT", "", [], 422),
        ("POST", "/load", {"version": 0}, 422),
        ("POST", "/load", {"version": 9}, 404),
        ("POST", "/unload", {"version": 9}, 404),
        ("POST", "/rollback", {"version": 9}, 404),
    ],
)
async def test_what_does_not_fit_is_refused_and_changes_nothing(
    repository, method, path, body, status
):
    async with serving(repository) as service:
        before = await call(service, "GET")
        await call(service, method, path, body, status)
        assert await call(service, "GET") == before
        assert not repository.states.path("small").exists()


async def test_a_state_too_large_to_be_read_again_is_refused_and_changes_nothing(repository):
    async with serving(repository) as service:
        before = await call(service, "PUT", "", {"traffic": {"1": 1}})
        many = {"traffic": {"1": 1}, "withdrawn": list(range(100_000_000, 100_004_097))}
        refused = await call(service, "PUT", "", many, status=422)
        assert refused["detail"].startswith("withdrawn: ")
        await call(service, "PUT", "", many | {"withdrawn": many["withdrawn"] * 2}, status=413)
        assert await call(service, "GET") == before
        assert await asked(service) == (1, 1)


async def test_an_alias_in_use_is_not_forgotten_and_its_use_is_told(repository):
    async with serving(repository) as service:
        await call(service, "PUT", "/aliases/stable", {"version": 1})
        await call(service, "PUT", "/split", {"weights": {"stable": 1}})
        refused = await call(service, "DELETE", "/aliases/stable", status=409)
        assert "no alias 'stable', and yet it has a share of the traffic" in refused["detail"]


async def test_unknown_models_are_not_found(repository):
    async with serving(repository) as service:
        for method, path, body in (
            ("GET", "", None),
            ("PUT", "", {}),
            ("POST", "/load", {}),
            ("POST", "/unload", {}),
            ("POST", "/rollback", {"version": 1}),
            ("POST", "/rollback", {}),
            ("DELETE", "/split", None),
        ):
            answer = await service.client.request(
                method, f"/v1/admin/models/unknown{path}", json=body
            )
            assert answer.status_code == 404, (method, path)


async def test_what_cannot_be_kept_is_refused_with_the_reason(repository, tmp_path):
    (tmp_path / "file").touch()
    settings = SMALL.model_copy(update={"states": tmp_path / "file"})
    async with serving(repository, settings) as service:
        problem = await call(service, "POST", "/unload", status=409)
        assert "folder that keeps the states of models" in problem["detail"]
        assert await asked(service) == (3, 3)
