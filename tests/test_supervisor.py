"""Workers that die or hang are replaced; those that cannot start end the service."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import httpx
import pytest

from examples.serving import Served, serving
from service.settings import Settings
from service.supervisor import Supervisor
from service.worker import pause_of
from tests.http.inprocess import weeks

PREDICT = "/v1/models/co2-gru/predict"
ONE = {"sequences": [weeks(30)]}
SPARE = {"SEQSERVE_SPARES": "1"}


def spare_of(log, service: Served, workers: int = 1) -> list[int]:
    """Wait until a spare has loaded; return all processes, the workers first."""
    end = time.monotonic() + 30
    while log.read_text().count("Application startup complete") < workers + 1:
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)
    return service.workers()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_spare_takes_the_place_of_a_worker_that_dies_and_no_newcomer_is_refused(tmp_path, number):
    log = tmp_path / "log"
    with serving(log, "--provider", "cpu", environment=SPARE) as service:
        good = httpx.post(service.url + PREDICT, json=ONE).content
        worker, spare = spare_of(log, service)
        os.kill(worker, number)
        died = time.monotonic()
        answer = httpx.post(service.url + PREDICT, json=ONE)  # a connection of its own
        assert answer.content == good
        assert time.monotonic() < died + 1
        assert worker not in service.workers()
        assert spare in service.workers()
        next_spare = spare_of(log, service, workers=2)[-1]
        assert next_spare not in {worker, spare}
        assert f"Worker {worker} died of {signal.Signals(number).name}" in log.read_text()


def test_one_of_two_workers_dies_and_both_places_are_taken(tmp_path):
    log = tmp_path / "log"
    with serving(log, "--provider", "cpu", "--workers", "2", environment=SPARE) as service:
        spare_of(log, service, workers=2)
        os.kill(service.workers()[0], signal.SIGKILL)
        for _ in range(50):  # each a connection of its own, to either place
            assert httpx.get(f"{service.url}/health/live").is_success
        assert (
            log.read_text().count(" takes place 0") + log.read_text().count(" takes place 1") == 3
        )


def test_without_a_spare_newcomers_wait_for_the_replacement(tmp_path):
    with serving(tmp_path / "log", "--provider", "cpu") as service:
        (worker,) = service.workers()
        os.kill(worker, signal.SIGKILL)
        assert httpx.post(service.url + PREDICT, json=ONE, timeout=30).is_success
        (replacement,) = service.workers()
        assert replacement != worker


def test_a_store_that_can_no_longer_be_opened_ends_sessions_and_no_prediction(tmp_path):
    log, store = tmp_path / "log", tmp_path / "store/sessions.db"
    store.parent.mkdir()
    environment = {"SEQSERVE_STORE": f"sqlite:///{store}"}
    with serving(log, "--provider", "cpu", environment=environment) as service:
        sessions = f"{service.url}/v1/models/co2-gru/sessions"
        assert httpx.post(sessions, json={}).status_code == 201
        (worker,) = service.workers()
        for file in store.parent.iterdir():
            file.write_bytes(b"garbage" * 1000)
        os.kill(worker, signal.SIGKILL)
        assert httpx.post(service.url + PREDICT, json=ONE, timeout=30).is_success
        refused = httpx.post(sessions, json={})
        assert refused.status_code == 503
        assert refused.json()["type"].endswith("store-unavailable")
        assert httpx.get(f"{service.url}/health/live").is_success
        assert httpx.get(f"{service.url}/health/ready").status_code == 503
    assert "Traceback" not in log.read_text()
    assert "No sessions in this process" in log.read_text()


def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path):
    log = tmp_path / "log"
    with serving(log, "--provider", "cpu", environment=SPARE | {"SEQSERVE_HUNG_S": "1"}) as service:
        worker, _ = spare_of(log, service)
        os.kill(worker, signal.SIGSTOP)
        assert httpx.post(service.url + PREDICT, json=ONE, timeout=15).is_success
        assert worker not in service.workers()
        assert f"Worker {worker} hangs" in log.read_text()


def test_a_worker_gives_several_signs_of_life_before_it_is_taken_to_hang():
    least = min(each.ge for each in Settings.model_fields["hung_s"].metadata)
    assert pause_of(least) <= least / 4


def test_a_worker_told_to_end_by_itself_finishes_and_is_replaced(tmp_path):
    log = tmp_path / "log"
    with serving(log, "--provider", "cpu", environment=SPARE) as service:
        worker, spare = spare_of(log, service)
        os.kill(worker, signal.SIGTERM)
        with suppress(ProcessLookupError):
            while worker in service.workers():
                time.sleep(0.01)
        assert httpx.post(service.url + PREDICT, json=ONE).is_success
        assert spare in service.workers()
    assert "died" not in log.read_text()


def test_a_worker_whose_keeper_dies_finishes_and_one_with_a_keeper_takes_its_place(tmp_path):
    log = tmp_path / "log"
    with serving(log, "--provider", "cpu", environment=SPARE) as service:
        worker, spare = spare_of(log, service)
        keeper = min(service.keepers())
        os.kill(keeper, signal.SIGKILL)
        end = time.monotonic() + 15
        while worker in service.workers() or keeper in service.keepers():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.01)
        assert httpx.post(service.url + PREDICT, json=ONE).is_success
        assert spare in service.workers()
    assert f"The keeper of worker {worker} died before it." in log.read_text()


def test_workers_that_die_at_every_start_end_the_service(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'service.process' in sys.orig_argv: os.abort()\n"
    )
    path = os.pathsep.join((str(tmp_path), *sys.path))
    ended = subprocess.run(
        [sys.executable, "-m", "service.cli", "serve", "--port", "0"],
        env={**os.environ, "PYTHONPATH": path, "SEQSERVE_LOG_FORMAT": "text"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    assert ended.stderr.count("died of SIGABRT") == 5
    assert "the next process starts in 0.5 s" in ended.stderr
    assert "No worker can start" in ended.stderr
    assert "Traceback" not in ended.stderr


class Endless:
    """A process that neither ends nor says anything."""

    pid = 0

    async def wait(self):
        await asyncio.Event().wait()


async def test_workers_that_serve_at_the_same_moment_have_one_spare_started(monkeypatch):
    started = []

    async def start(*command, **_options):
        started.append(command)
        await asyncio.sleep(0)
        return Endless()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    supervisor = Supervisor(Settings(spares=1), places=[])  # every place is taken
    async with asyncio.TaskGroup() as supervisor._tasks:
        await asyncio.gather(supervisor._fill(), supervisor._fill())
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
    for worker in supervisor._workers:
        worker.channel.close()
    assert len(started) == 1
