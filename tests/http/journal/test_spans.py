"""Each request leaves a trace, whichever way it took; batches are shared, and say by whom."""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from websockets.asyncio.client import connect

from examples.serving import free_port, serving
from service.http.journal import tracing
from service.http.journal.spans import PATIENCE, Spans
from service.sessions.location import open_store
from service.sessions.store import Limits
from tests.http.inprocess import GRU, Service, running, weeks

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
PREDICT = "POST /v1/models/{name}/predict"


@asynccontextmanager
async def traced(**options) -> AsyncIterator[tuple[Service, InMemorySpanExporter]]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with running(tracing=Spans(provider), **options) as service:
        yield service, exporter


def named(spans: tuple[ReadableSpan, ...], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def below(parent: ReadableSpan, child: ReadableSpan) -> bool:
    return (
        child.parent.span_id == parent.context.span_id
        and child.context.trace_id == parent.context.trace_id
    )


async def test_a_prediction_is_a_request_a_wait_and_a_run_in_a_batch_of_the_callers_trace():
    async with traced() as (service, exporter):
        answer = await service.predict({"sequences": [weeks(30), weeks(31)]}, headers=TRACEPARENT)
        spans = exporter.get_finished_spans()
    request, queue, compute, batch, run = (
        named(spans, name)[0] for name in (PREDICT, "queue", "compute", "batch", "run")
    )
    assert len(spans) == 5
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT
    for parent, child in ((request, queue), (request, compute), (compute, batch), (batch, run)):
        assert below(parent, child)
    assert [link.context for link in batch.links] == [request.context]
    assert [link.context for link in compute.links] == [batch.context]
    assert queue.start_time < queue.end_time == compute.start_time <= run.start_time < run.end_time
    assert request.start_time < queue.start_time
    assert run.end_time < request.end_time
    assert batch.attributes == {
        "seqserve.model.name": GRU,
        "seqserve.model.version": 1,
        "seqserve.batch.size": 2,
        "seqserve.batch.steps": 61,
        "seqserve.batch.padded_steps": 62,
    }
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["seqserve.request_id"] == answer.headers["x-request-id"]


async def test_a_batch_links_to_all_the_requests_in_it_and_each_links_to_the_batch():
    async with traced() as (service, exporter):
        await asyncio.gather(*(service.predict({"sequences": [weeks(30)]}) for _ in range(8)))
        spans = exporter.get_finished_spans()
    requests = {span.context.span_id for span in named(spans, PREDICT)}
    batches = named(spans, "batch")
    linked = [link.context.span_id for batch in batches for link in batch.links]
    assert len(requests) == 8
    assert sorted(linked) == sorted(requests)
    assert len(batches) < 8
    ids = {batch.context.span_id for batch in batches}
    for compute in named(spans, "compute"):
        (link,) = compute.links
        assert link.context.span_id in ids


async def test_a_step_of_a_session_is_traced_into_its_batch(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/sessions.db", limits=Limits(), durability="process")
    async with traced(store=store) as (service, exporter):
        path = f"/v1/models/{GRU}/sessions"
        opened = await service.client.post(path, json={"values": weeks(30)})
        exporter.clear()
        step = f"/v1/sessions/{opened.json()['session']}/steps/1"
        answer = await service.client.post(step, json={"values": [341.0]})
        spans = exporter.get_finished_spans()
    assert answer.status_code == 200
    (request,) = named(spans, "POST /v1/sessions/{id}/steps/{n}")
    assert below(request, named(spans, "queue")[0])
    assert named(spans, "batch")[0].links[0].context == request.context
    assert len(named(spans, "run")) == 1


async def test_a_refusal_is_traced_with_its_reason_and_no_batch():
    async with traced() as (service, exporter):
        await service.predict({"sequences": [[1]]})
        await service.client.get("/nowhere")
        refused, nowhere = exporter.get_finished_spans()
    assert refused.attributes["error.type"] == "invalid-sequence"
    assert nowhere.name == "GET"
    assert "http.route" not in nowhere.attributes
    assert refused.status.is_unset


async def test_what_the_caller_does_not_sample_leaves_no_span():
    async with traced() as (service, exporter):
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
        await service.predict({"sequences": [weeks(30)]}, headers=headers)
        await service.predict({"sequences": [weeks(30)]}, headers={"traceparent": b"00-0-0-\xff"})
        spans = exporter.get_finished_spans()
    assert len(named(spans, PREDICT)) == 1
    assert named(spans, PREDICT)[0].parent is None


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "TRUE"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_somewhere_to_send_them_there_are_no_traces(environment, monkeypatch):
    for name in (*tracing.ENDPOINTS, "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert tracing.configured() is None


def test_without_the_extra_the_service_says_so_and_goes_on(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.delitem(sys.modules, "service.http.journal.spans")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with caplog.at_level(logging.WARNING):
        assert tracing.configured() is None
    assert "pip install 'seqserve[otel]'" in caplog.text


@contextmanager
def receiver() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Yield where OTLP over HTTP is taken, and what came."""
    came: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                came.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def steps_of_a_stream(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        opened = await client.post(f"/v1/models/{GRU}/sessions", json={"values": weeks(30)})
    address = f"{url.replace('http', 'ws')}/v1/models/{GRU}/stream"
    async with connect(address, additional_headers=TRACEPARENT) as ws:
        await ws.send(
            json.dumps({"session": opened.json()["session"], "step": 1, "values": [341.0]})
        )
        assert json.loads(await ws.recv())["status"] == 200


def test_a_collector_receives_both_ways_and_streams_and_the_last_spans_before_the_end(tmp_path):
    with receiver() as (endpoint, came):
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "60000",  # nothing is sent before the end
            "SEQSERVE_STORE": f"sqlite:///{tmp_path}/sessions.db",
        }
        log = tmp_path / "service.log"
        with serving(log, "--provider", "cpu", environment=environment) as service:
            for query in ("", "?long"):  # the second is not plain
                path = f"{service.url}/v1/models/{GRU}/predict{query}"
                answer = httpx.post(path, json={"sequences": [weeks(30)]}, headers=TRACEPARENT)
                assert answer.status_code == 200
            asyncio.run(steps_of_a_stream(service.url))
    resources = [resource for each in came for resource in each.resource_spans]
    names = {
        attribute.key: attribute.value.string_value
        for resource in resources
        for attribute in resource.resource.attributes
    }
    assert names["service.name"] == "seqserve"
    spans = [
        span for resource in resources for scope in resource.scope_spans for span in scope.spans
    ]
    ours = [span for span in spans if span.trace_id.hex() == TRACE]
    for name, count in ((PREDICT, 2), ("GET /v1/models/{name}/stream", 1)):
        asked = [span for span in ours if span.name == name]
        assert [span.parent_span_id.hex() for span in asked] == [PARENT] * count
        for request in asked:
            inside = {span.name for span in ours if span.parent_span_id == request.span_id}
            assert inside == {"queue", "compute"}
    assert len([span for span in ours if span.name == "run"]) == 3


def test_a_collector_that_never_answers_holds_up_neither_answers_nor_the_end(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        environment = os.environ | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "SEQSERVE_STORE": "none",
            "SEQSERVE_DRAIN_S": "0",
        }
        port = free_port()
        command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port)]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, env=environment, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            await_ready(url)
            for _ in range(20):
                body = {"sequences": [weeks(30)]}
                assert httpx.post(f"{url}/v1/models/{GRU}/predict", json=body).is_success
                time.sleep(0.02)  # while spans are being sent
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) in {0, -signal.SIGTERM}
            assert time.monotonic() - began < PATIENCE + 3
        finally:
            process.kill()
            process.wait()


def await_ready(url: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/health/ready").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("never ready")
