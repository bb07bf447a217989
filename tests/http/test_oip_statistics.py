"""The statistics extension: what each version has answered, counted as it was asked."""

import time

from models.repository import Repository
from tests.engine.test_core import publish
from tests.http.inprocess import ATTENTION, GRU, SMALL, Service, running, weeks
from tests.http.tensors import tensor

NOTHING = {"count": 0, "ns": 0}


async def stats(service: Service, path: str) -> list[dict]:
    answer = await service.client.get(f"/v2/models{path}/stats")
    assert answer.status_code == 200, answer.text
    return answer.json()["model_stats"]


async def test_requests_sequences_and_batches_are_counted_by_version(service: Service):
    began = time.time()
    window = [[value] for value in weeks(30)]
    for inputs in ([window], [window] * 3, [window[:5]]):
        body = {"inputs": [tensor("sequences", inputs)]}
        await service.client.post(f"/v2/models/{GRU}/infer", json=body)
    await service.predict({"sequences": [weeks(40)]})
    (found,) = await stats(service, f"/{GRU}")
    assert (found["name"], found["version"]) == (GRU, "1")
    assert found["inference_count"] == 5
    assert found["execution_count"] == 3
    assert began * 1000 - 1 <= found["last_inference"] <= time.time() * 1000 + 1
    parts = found["inference_stats"]
    assert {name: part["count"] for name, part in parts.items() if part["count"]} == {
        "success": 3,
        "fail": 1,
        "queue": 3,
        "compute_infer": 3,
    }
    measured = parts["queue"]["ns"] + parts["compute_infer"]["ns"]
    assert 0 < measured < parts["success"]["ns"] < (time.time() - began) * 1e9
    assert parts["fail"]["ns"] > 0
    assert parts["cache_hit"] == NOTHING
    (other,) = await stats(service, f"/{ATTENTION}/versions/1")
    assert (other["inference_count"], other["last_inference"]) == (0, 0)


async def test_a_batch_that_fails_is_no_inference(service: Service):
    batcher = service.engine.newest(GRU).batcher

    class Broken:
        def run(self, rows):
            raise RuntimeError(f"{len(rows)} rows")

    batcher._runner = Broken()
    failed = await service.predict({"sequences": [weeks(30), weeks(31)]})
    assert failed.status_code == 500
    (found,) = await stats(service, f"/{GRU}")
    assert (found["inference_count"], found["execution_count"]) == (0, 0)
    assert found["inference_stats"]["fail"]["count"] == 1
    assert found["inference_stats"]["success"] == NOTHING


async def test_all_models_are_listed_and_unknown_ones_are_not_found(tmp_path):
    repository = Repository(tmp_path)
    publish(repository)
    publish(repository)
    async with running(SMALL.model_copy(update={"models": tmp_path, "watch_s": 0})) as service:
        assert [(one["name"], one["version"]) for one in await stats(service, "")] == [
            ("small", "2")
        ]
        (older,) = await stats(service, "/small/versions/1")
        assert older["version"] == "1"
        assert not any(model.entry.version == 1 for model in service.engine.loaded("small"))
        await service.engine.changes.make("small", lambda now: now.with_alias("stable", 2))
        (stable,) = await stats(service, "/small/versions/stable")
        assert stable["version"] == "2"
        for path in (
            "unknown",
            "small/versions/3",
            "small/versions/x",
            "small/versions/01",
            "small/versions/beta",
        ):
            answer = await service.client.get(f"/v2/models/{path}/stats")
            assert answer.status_code == 404
            assert answer.json()["type"].endswith("model-not-found")
