"""Health, metrics, request ids and the access log."""

import asyncio
import json
import logging
import os
import re
import shutil
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from service.http.journal.recorder import Recorder
from service.http.journal.records import Records
from service.http.meters.metrics import Metrics
from service.logs import configure
from service.memory import Tidy
from service.sessions.location import open_store
from service.sessions.store import Limits
from service.settings import ZOO, Settings
from tests.http.inprocess import GRU, SMALL, STREAM, Service, running, weeks


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
        for path in ("/health/ready", "/v2/health/ready"):
            answer = await service.client.get(path)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
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


async def test_the_time_in_the_engine_is_logged_of_whatever_asked_it(tmp_path, capsys):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure("info", "json")
    store = open_store(f"sqlite:///{tmp_path}/sessions.db", limits=Limits(), durability="process")
    try:
        async with running(store=store) as service:
            opened = await service.client.post(
                f"/v1/models/{STREAM}/sessions", json={"values": weeks(300)}
            )
            session = opened.json()["session"]
            step = {"values": [341.0]}
            await service.client.post(f"/v1/sessions/{session}/steps/1", json=step)
            named = {"steps": [step | {"session": session, "step": 2}]}
            await service.client.post(f"/v1/models/{STREAM}/steps", json=named)
            series = {"series": [weeks(60)]}
            await service.client.post(f"/v1/models/{GRU}/backtest", json=series)
            await service.client.get(f"/v1/sessions/{session}")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    *asked, look = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in asked] == [201, 200, 200, 200]
    for line in asked:
        assert 0 <= line["queue_seconds"] < line["seconds"]
        assert 0 < line["compute_seconds"] < line["seconds"]
        assert line["batch"] >= 1
    assert "compute_seconds" not in look


def resident() -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


HOSTILE = ("hostile-1", "%0a%22hostile_total%7D+1", "%F0%9F%98%80", "x" * 300)


async def visit(service: Service, word: str) -> None:
    body = {"sequences": [weeks(30)], "model": word, "targets": [word]}
    for path in (
        f"/{word}",
        f"/v1/models/{word}",
        f"/v1/models/{word}/predict",
        f"/v1/models/co2-gru/versions/{word}/predict",
        f"/v2/models/{word}/infer",
        f"/v1/sessions/{word}/steps/1",
    ):
        for method in ("GET", "POST", "HEAD", word.upper()):
            await service.client.request(method, path, headers={"x-tenant": "a"})
    await service.predict(body, headers={"content-type": f"application/{word[:9]}"})
    await service.predict(body)


async def test_callers_can_add_no_series(service: Service):
    await visit(service, "first")
    before = (await samples(service)).keys()
    for number in range(20):
        for word in HOSTILE:
            await visit(service, f"{word}{number}")
    after = (await samples(service)).keys()
    assert {name for name, _ in after - before} <= {"seqserve_requests_total"}
    await visit(service, "third")
    assert (await samples(service)).keys() == after
    labels = {value for _, pairs in after for _, value in pairs}
    assert len(labels) < 150
    assert not any("hostile" in value.lower() for value in labels)


async def test_refusals_are_counted_by_the_type_of_their_problem(service: Service):
    await service.predict({"sequences": [[1]]})
    await service.client.post("/v1/models/nobody/predict", json={})
    await service.client.get("/nowhere")
    found = await samples(service)
    for reason in ("invalid-sequence", "model-not-found", "not-found"):
        assert one(found, "seqserve_refused_requests_total", reason=reason) == 1


async def test_the_process_its_loop_its_models_and_its_build_are_measured(service: Service):
    found = await samples(service)
    me = {"pid": str(os.getpid())}
    assert one(found, "process_resident_memory_bytes", **me) == pytest.approx(resident(), rel=0.1)
    assert one(found, "process_cpu_seconds_total", **me) == pytest.approx(
        time.process_time(), rel=0.1, abs=0.5
    )
    assert 3 < one(found, "process_open_fds", **me) < one(found, "process_max_fds", **me)
    assert one(found, "process_threads", **me) >= 1
    began = one(found, "process_start_time_seconds", **me)
    assert time.time() - 3600 < began < time.time() + 1
    await asyncio.sleep(0.01)
    assert one(await samples(service), "process_start_time_seconds", **me) == began
    assert one(found, "seqserve_loop_lag_seconds_count") >= 1
    model = {"model": GRU, "version": "1"}
    assert one(found, "seqserve_model_workers", **model) == 1
    loaded = service.engine.newest(GRU)
    assert one(found, "seqserve_model_load_seconds", **model) == loaded.load_seconds
    assert one(found, "seqserve_build", version=version("seqserve"), provider="cpu") == 1


async def test_a_blocked_loop_shows_in_its_lag(service: Service):
    before = one(await samples(service), "seqserve_loop_lag_seconds_sum")
    time.sleep(0.7)  # noqa: ASYNC251  the fault that is looked for
    async with asyncio.timeout(5):
        while one(await samples(service), "seqserve_loop_lag_seconds_sum") < before + 0.1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_version_that_cannot_be_loaded_is_a_metric(tmp_path):
    for name in (GRU, "broken"):
        (tmp_path / name).mkdir()
    shutil.copy(ZOO / GRU / "1.onnx", tmp_path / GRU)
    (tmp_path / "broken/1.onnx").write_bytes(b"no model")
    async with running(SMALL.model_copy(update={"models": tmp_path})) as service:
        found = await samples(service)
    assert one(found, "seqserve_model_failed", model="broken", version="1") == 1
    assert one(found, "seqserve_model_workers", model=GRU, version="1") == 1


async def test_the_store_is_measured_and_one_that_is_lost_is_told(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/sessions.db", limits=Limits(), durability="process")
    async with running(store=store) as service:
        for _ in range(3):
            await service.client.post(f"/v1/models/{STREAM}/sessions", json={})
        found = await samples(service)
        assert one(found, "seqserve_store_ready") == 1
        assert one(found, "seqserve_sessions") == 3
        assert one(found, "seqserve_session_bytes") > 0
        (tmp_path / "sessions.db").unlink()
        found = await samples(service)
        assert one(found, "seqserve_store_ready") == 0
        assert one(found, "seqserve_sessions") == 3


async def test_a_defect_is_counted_as_a_500_and_not_as_a_client_who_left():
    metrics, sent = Metrics(), []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    async def app(_scope, _receive, _send):
        raise ZeroDivisionError

    recorder = Recorder(app, Records(metrics, log_requests=False), Tidy())
    with pytest.raises(ZeroDivisionError):
        await recorder({"type": "http", "headers": [], "method": "GET", "path": "/"}, receive, send)
    metrics.flush()
    assert b'seqserve_requests_total{method="GET",route="none",status="500"} 1.0' in (
        metrics.render()
    )
    assert b'seqserve_refused_requests_total{reason="defect"} 1.0' in metrics.render()


async def test_a_service_tells_what_is_in_force_and_no_secret():
    settings = SMALL.model_copy(update={"state_key": SecretStr("hidden"), "models": ZOO})
    async with running(settings) as service:
        told = await service.client.get("/v1/service")
        protocol = await service.client.get("/v2")
    found = told.json()
    assert protocol.json()["in_force"] == found
    assert found["version"] == version("seqserve")
    assert found["versions"]["onnxruntime"] == version("onnxruntime-gpu")
    assert (found["provider"], found["provider_reason"]) == ("cpu", "asked for")
    assert (found["workers"], found["threads"], found["spare_threads"]) == (1, 1, 0)
    assert found["limits"]["max_body_bytes"] == 200_000
    assert found["limits"]["request_timeout_ms"] == 30_000
    assert found["limits"].keys() >= {
        name for name, field in Settings.model_fields.items() if name.startswith("max_")
    }
    for hidden in ("hidden", str(ZOO), "sqlite"):
        assert hidden not in told.text
