"""Health, metrics, request ids and the access log."""

import json
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.logs import configure
from tests.http.inprocess import GRU, Service, running, weeks


async def samples(service: Service) -> dict[tuple[str, frozenset], float]:
    text = (await service.client.get("/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def one(found, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def test_metrics_tell_requests_latency_batches_steps_and_the_queue(service: Service):
    await service.predict({"sequences": [weeks(30), weeks(31)]})
    await service.predict({"sequences": [[1, 2]]})
    found = await samples(service)
    predict, model = "/v1/models/{name}/predict", {"model": GRU, "version": "1"}
    for status in ("200", "422"):
        labels = {"route": predict, "method": "POST", "status": status}
        assert one(found, "seqserve_requests_total", **labels) == 1
    for part in ("queue", "compute", "rest"):
        assert one(found, "seqserve_request_seconds_count", part=part) == 1
        assert one(found, "seqserve_request_seconds_sum", part=part) > 0
    assert one(found, "seqserve_batch_size_sum", **model) == 2
    assert one(found, "seqserve_steps_total", **model) == 61
    assert one(found, "seqserve_padded_steps_total", **model) == 62
    assert one(found, "seqserve_waiting_sequences", **model) == 0
    assert one(found, "seqserve_batch_failures_total", **model) == 0


async def test_no_label_is_chosen_by_a_caller(service: Service):
    for path in ("/hostile-1", "/v1/models/hostile-2", "/v1/models/hostile-3/predict"):
        await service.client.request("HOSTILE", path)
        await service.client.get(path)
    text = (await service.client.get("/metrics")).text
    assert "hostile" not in text.lower()


async def test_health_tells_the_provider_and_the_models(service: Service):
    assert (await service.client.get("/health/live")).json() == {"status": "live"}
    ready = await service.client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "provider": "cpu",
        "reason": "asked for",
        "models": ["co2-gru", "co2-lstm", "co2-stream-gru", "elnino-attention"],
        "store": None,
    }


async def test_a_stopped_service_is_alive_not_ready_and_takes_no_work():
    async with running() as service:
        await service.engine.__aexit__()
        assert (await service.client.get("/health/live")).status_code == 200
        assert (await service.client.get("/health/ready")).status_code == 503
        refused = await service.predict({"sequences": [weeks(30)]})
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:seqserve:problem:stopping"


@pytest.mark.parametrize("given", ["abc-1.2_3", "0" * 64])
async def test_a_well_formed_request_id_is_kept(service: Service, given):
    answer = await service.client.get("/health/live", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'a"}', "é"])
async def test_any_other_request_id_is_replaced(service: Service, given):
    answer = await service.client.get(
        "/health/live", headers=[(b"x-request-id", given.encode("latin-1"))]
    )
    made = answer.headers["x-request-id"]
    assert len(made) == 32
    assert made != given


async def test_the_access_log_is_one_json_object_a_line_with_the_request_id(capsys):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure("info", "json")
    try:
        async with running() as service:
            await service.predict({"sequences": [weeks(30)]}, headers={"x-request-id": "mine"})
            await service.client.get("/a%0A%7B%22event%22:%22forged%22%7D")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in requests] == [200, 404]
    assert requests[0]["request_id"] == "mine"
    assert requests[0]["compute_seconds"] > 0
    assert "color_message" not in json.dumps(lines)
