"""The real thing: ``seqserve serve`` in its own process, asked over a socket."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from examples.serving import serving
from service.engine.runner import choose_device
from service.settings import ZOO
from tests.http.inprocess import weeks


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "service.log"
    with serving(log, "--provider", "cpu") as service:
        yield service.url


async def test_two_hundred_requests_at_once_get_their_own_answers(url):
    rows = [weeks(26 + number % 79, 300 + number) for number in range(200)]
    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        path = "/v1/models/co2-gru/predict"
        answers = await asyncio.gather(
            *(client.post(path, json={"sequences": [row]}) for row in rows)
        )
        together = await client.post(path, json={"sequences": rows})
    assert {answer.status_code for answer in answers} == {200}
    alone = [answer.json()["predictions"][0] for answer in answers]
    assert alone == together.json()["predictions"]


def test_half_a_request_and_a_hang_up_leave_the_service_well(url):
    host, port = url.removeprefix("http://").split(":")
    for body in (b"", b'{"sequences": ['):
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(
                b"POST /v1/models/co2-gru/predict HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n" + body
            )
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00\x01garbage\r\n\r\n")
        assert b"400" in raw.recv(1000)
    answer = httpx.post(f"{url}/v1/models/co2-gru/predict", json={"sequences": [weeks(26)]})
    assert answer.status_code == 200


def test_stopping_finishes_what_was_accepted(tmp_path):
    log = tmp_path / "service.log"
    small = {"SEQSERVE_MAX_BATCH_SIZE": "1"}
    with serving(log, "--provider", "cpu", environment=small) as service:
        # One row a batch: long enough that the signal comes while most of them wait.
        body = {"sequences": [weeks(104, 300 + number) for number in range(1000)]}

        async def ask_and_stop():
            async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
                work = asyncio.create_task(client.post("/v1/models/co2-gru/predict", json=body))
                while "seqserve_batch_size_count" not in (
                    text := (await client.get("/metrics")).text
                ) or not any(
                    line.startswith("seqserve_waiting_sequences") and not line.endswith(" 0.0")
                    for line in text.splitlines()
                ):
                    assert not work.done(), "the work ended before it could be interrupted"
                os.kill(service.pid, signal.SIGTERM)
                return await work

        answer = asyncio.run(ask_and_stop())
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 1000


def test_several_workers_answer_alike_and_their_metrics_add_up(tmp_path):
    with serving(tmp_path / "service.log", "--workers", "2", "--provider", "cpu") as service:
        url = service.url
        answers = set()
        for _ in range(20):  # a new connection each time: either worker may take it
            answer = httpx.post(
                f"{url}/v1/models/co2-lstm/predict", json={"sequences": [weeks(30)]}
            )
            answers.add(answer.content)
        assert len(answers) == 1
        end = time.monotonic() + 10
        while (total := counted(url)) < 20 and time.monotonic() < end:
            pass  # the other worker hands its figures on within a moment
        assert total == 20


def test_every_worker_is_measured_and_one_that_died_is_not_counted_among_the_living(tmp_path):
    with serving(tmp_path / "service.log", "--workers", "2", "--provider", "cpu") as service:
        await_metrics(service.url, 2)
        pids = workers(service.url)
        assert service.pid not in pids
        assert samples(service.url)["seqserve_model_workers", "co2-gru"] == 2
        os.kill(min(pids), signal.SIGKILL)
        await_gone(service.url, min(pids))  # another may be there before we look
        await_metrics(service.url, 2)
        assert workers(service.url) != pids
        assert samples(service.url)["seqserve_model_workers", "co2-gru"] == 2


def await_gone(url: str, pid: int) -> None:
    """Wait until a worker is told of no more."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(httpx.TransportError):  # whoever died had taken the connection
            if pid not in workers(url):
                return
    raise AssertionError(f"{pid} is still there")


def samples(url: str) -> dict[tuple[str, str | None], float]:
    """Return the figures by name, and by model where there is one."""
    return {
        (sample.name, sample.labels.get("model")): sample.value
        for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
        for sample in family.samples
    }


def workers(url: str) -> set[int]:
    text = httpx.get(f"{url}/metrics").text
    return {int(pid) for pid in re.findall(r'process_open_fds\{pid="(\d+)"\}', text)}


def await_metrics(url: str, count: int) -> None:
    """Wait until so many workers have loaded their models."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(httpx.TransportError):  # whoever died had taken the connection
            if samples(url).get(("seqserve_model_workers", "co2-gru")) == count:
                return
    raise AssertionError(f"never {count} workers")


def counted(url: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    requests = [line for line in lines if line.startswith("seqserve_requests_total")]
    return sum(float(line.split()[-1]) for line in requests if "predict" in line)


def ended(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Return how ``seqserve serve`` ended that cannot go on."""
    return subprocess.run(
        [sys.executable, "-m", "service.cli", "serve", *options],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_folder_that_is_not_there_ends_the_command_with_one_line(tmp_path):
    result = ended("--models", str(tmp_path / "none"))
    assert result.returncode == 2
    assert "There is no folder" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_ends_the_command_with_its_name():
    result = ended(SEQSERVE_THREADS="many", SEQSERVE_MAX_WAITING="0")
    assert result.returncode == 2
    assert "SEQSERVE_THREADS: Input should be a valid integer" in result.stderr
    assert "SEQSERVE_MAX_WAITING: " in result.stderr
    result = ended(SEQSERVE_BACKLOG="3000000000", SEQSERVE_REQUEST_TIMEOUT_MS="1" + "0" * 400)
    assert result.returncode == 2
    for name in ("BACKLOG", "REQUEST_TIMEOUT_MS"):
        assert f"SEQSERVE_{name}: Input should be less than or equal" in result.stderr
    result = ended("--host", "a" * 70, "--no-keys-on-public-address")
    assert result.returncode == 1
    assert "no name of a host" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_setting_that_is_misspelt_ends_the_command_with_the_right_one(tmp_path):
    strangers = {"SEQSERVE_PORT": "tcp://10.0.0.1:80", "SEQSERVE_SERVICE_HOST": "10.0.0.1"}
    slip = {"SEQSERVE_MAX_QUEU_MS": "100"}
    result = ended("--models", str(tmp_path / "none"), **strangers, **slip)
    assert result.returncode == 2
    assert "SEQSERVE_MAX_QUEU_MS is no setting; SEQSERVE_MAX_QUEUE_MS is." in result.stderr


def test_an_address_in_the_environment_is_refused_with_the_option_that_sets_it():
    for name, value in (("SEQSERVE_PORT", "8001"), ("SEQSERVE_HOST", "127.0.0.2")):
        result = ended(**{name: value})
        assert result.returncode == 2
        assert f"{name} is no setting; say --{name[9:].lower()}." in result.stderr


@pytest.mark.parametrize("store", ["bogus", "sqlite:////proc/nowhere/sessions.db"])
def test_a_store_that_cannot_be_opened_ends_the_command_with_one_line(store):
    result = ended(SEQSERVE_STORE=store)
    assert result.returncode == 2
    assert "SEQSERVE_STORE" in result.stderr
    assert "Traceback" not in result.stderr


def test_who_insists_on_cuda_is_told_at_once_where_there_is_none():
    device = choose_device("auto")
    if device.provider == "cuda":
        pytest.skip("CUDA works here")
    result = ended("--provider", "cuda")
    assert result.returncode == 1
    assert result.stderr == f"Error: CUDA was asked for, but {device.reason}\n"


def test_the_models_of_a_repository_are_listed_with_their_accuracy():
    result = subprocess.run(
        [sys.executable, "-m", "service.cli", "models", "--models", str(ZOO)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for name in ("co2-gru", "co2-lstm", "co2-stream-gru", "elnino-attention"):
        assert name in result.stdout
    assert "of seasonal naive's" in result.stdout


def test_the_costs_of_a_model_are_printed_for_one_thread_and_for_several():
    result = subprocess.run(
        [sys.executable, "-m", "service.cli", "profile", "co2-gru", "--seconds", "0.1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "1 thread a run, milliseconds:" in result.stdout
    assert "104 steps" in result.stdout


def test_a_model_that_is_not_there_has_no_costs():
    result = subprocess.run(
        [sys.executable, "-m", "service.cli", "profile", "nobody"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == "Error: There is no model 'nobody'.\n"


def test_a_free_port_is_said_where_it_serves(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        env={**os.environ, "SEQSERVE_STATES": str(tmp_path)},
        text=True,
    )
    try:
        said = (re.search(r"Serving at (http://[\d.:]+)\.", line) for line in process.stderr)
        url = next(match for match in said if match)[1]
        assert httpx.get(f"{url}/health/live", timeout=10).status_code == 200
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_ends_the_command(workers):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        result = ended("--port", port, "--workers", workers)
    assert result.returncode != 0
    assert "in use" in result.stderr
    assert "Traceback" not in result.stderr
