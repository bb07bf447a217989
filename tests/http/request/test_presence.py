"""Callers who leave, callers who cannot wait: their work is dropped, nobody else notices."""

import asyncio
import gc
import json
import threading

import pytest

from service.http.request.presence import Presence
from tests.http.inprocess import GRU, SMALL, Service, running, weeks
from tests.http.tensors import tensor


class Gate:
    """Holds every batch of a model until it is opened."""

    def __init__(self, service: Service) -> None:
        self.open, self.entered = threading.Event(), threading.Event()
        batcher = service.engine.newest(GRU).batcher
        self._run = batcher._runner.run
        batcher._runner = self
        self.batcher = batcher
        self.sizes = []

    def run(self, rows):
        self.entered.set()
        assert self.open.wait(30)
        self.sizes.append(len(rows))
        return self._run(rows)


@pytest.fixture
async def gated():
    async with running(SMALL.model_copy(update={"inline_ms": 0})) as service:
        gate = Gate(service)
        try:
            yield service, gate
        finally:
            gate.open.set()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  a thread makes it true
            await asyncio.sleep(0.001)


class Caller:
    """An ASGI client that may hang up."""

    def __init__(self, service: Service, length: int = 26) -> None:
        self.body = json.dumps({"sequences": [weeks(length)]}).encode()
        self.hung_up = asyncio.Event()
        self.sent = []
        self.task = asyncio.create_task(service.app(self._scope(), self._receive, self._send))

    @staticmethod
    def _scope():
        path = f"/v1/models/{GRU}/predict"
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "scheme": "http",
            "server": ("test", 80),
            "client": ("test", 1),
        }

    async def _receive(self):
        if self.body is not None:
            body, self.body = self.body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.sent.append(message)


async def test_a_caller_who_hangs_up_while_waiting_frees_its_place_and_costs_nothing(gated):
    service, gate = gated
    first = asyncio.create_task(service.predict({"sequences": [weeks(30)]}))
    await until(gate.entered.is_set)
    leaver, stayer = Caller(service), Caller(service, 27)
    await until(lambda: gate.batcher.waiting == 2)
    leaver.hung_up.set()
    await asyncio.wait_for(leaver.task, 10)
    assert gate.batcher.waiting == 1
    gate.open.set()
    await asyncio.wait_for(stayer.task, 10)
    assert (await first).status_code == 200
    assert stayer.sent[0]["status"] == 200
    assert gate.sizes == [1, 1]


async def test_a_deadline_that_passes_is_answered_and_its_work_dropped(gated):
    service, gate = gated
    running_ = asyncio.create_task(service.predict({"sequences": [weeks(30)]}))
    await until(gate.entered.is_set)
    late = await service.predict({"sequences": [weeks(30)]}, headers={"x-request-timeout-ms": "50"})
    assert late.status_code == 503
    assert late.json()["type"] == "urn:seqserve:problem:deadline-exceeded"
    assert late.headers["retry-after"] == "1"
    assert gate.batcher.waiting == 0
    gate.open.set()
    assert (await running_).status_code == 200
    assert gate.sizes == [1]


async def test_the_timeout_of_an_infer_request_is_a_deadline_in_microseconds(gated):
    service, gate = gated
    running_ = asyncio.create_task(service.predict({"sequences": [weeks(30)]}))
    await until(gate.entered.is_set)
    body = {"inputs": [tensor("sequences", [[[value] for value in weeks(30)]])]}
    for microseconds, told in ((50_000, "within 50 ms"), (1, "within 0.001 ms")):
        body["parameters"] = {"timeout": microseconds}
        late = await service.client.post(f"/v2/models/{GRU}/infer", json=body)
        assert late.status_code == 503
        assert told in late.json()["detail"]
        assert gate.batcher.waiting == 0
    gate.open.set()
    assert (await running_).status_code == 200
    assert gate.sizes == [1]


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_request_that_was_watched_is_forgotten_with_its_answer(gated, leaves):
    service, gate = gated
    gc.disable()
    try:
        caller = Caller(service)
        await until(lambda: "presence" in {task.get_name() for task in asyncio.all_tasks()})
        (caller.hung_up if leaves else gate.open).set()
        await asyncio.wait_for(caller.task, 10)
        await asyncio.sleep(0)  # the watcher's own end
        assert not any(isinstance(each, Presence) for each in gc.get_objects())
    finally:
        gc.enable()


async def test_requests_that_arrive_while_a_batch_runs_share_the_next_one(gated):
    service, gate = gated
    first = asyncio.create_task(service.predict({"sequences": [weeks(30)]}))
    await until(gate.entered.is_set)
    others = [
        asyncio.create_task(service.predict({"sequences": [weeks(length)]}))
        for length in (24 + 8, 33, 34, 35)
    ]
    await until(lambda: gate.batcher.waiting == 4)
    gate.open.set()
    answers = await asyncio.gather(first, *others)
    assert {answer.status_code for answer in answers} == {200}
    assert gate.sizes == [1, 4]


async def test_a_model_that_raises_fails_its_own_batch_only():
    async with running() as service:
        batcher = service.engine.newest(GRU).batcher
        real = batcher._runner

        class Broken:
            def run(self, rows):
                batcher._runner = real
                raise RuntimeError(f"{len(rows)} secrets of the runtime")

        batcher._runner = Broken()
        failed = await service.predict({"sequences": [weeks(30)]})
        assert failed.status_code == 500
        assert failed.json()["type"] == "urn:seqserve:problem:model-error"
        assert "secrets" not in failed.text
        assert failed.json()["request_id"] == failed.headers["x-request-id"]
        assert (await service.predict({"sequences": [weeks(30)]})).status_code == 200
