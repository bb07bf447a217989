"""The real thing: ``seqserve serve`` in its own process, asked over a socket."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service.settings import ZOO

START = 60  # seconds


def weeks(length: int, start: float = 340.0) -> list[float]:
    return [start + 0.03 * step + (step * 7 % 13) / 5 for step in range(length)]


@contextmanager
def served(folder: Path, *options: str, **environment: str) -> Iterator[tuple[str, int]]:
    """Yield the address and the process id of a service that is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "service.log"
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port), *options]
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env=os.environ | environment
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await_ready(url, process, log)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def await_ready(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("server"), "--provider", "cpu") as (url, _):
        yield url


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
    with served(tmp_path, "--provider", "cpu", SEQSERVE_MAX_BATCH_SIZE="1") as (url, pid):
        # One row a batch: long enough that the signal comes while most of them wait.
        body = {"sequences": [weeks(104, 300 + number) for number in range(1000)]}
        started = None

        async def ask_and_stop():
            nonlocal started
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                work = asyncio.create_task(client.post("/v1/models/co2-gru/predict", json=body))
                while "seqserve_batch_size_count" not in (
                    text := (await client.get("/metrics")).text
                ) or not any(
                    line.startswith("seqserve_waiting_sequences") and not line.endswith(" 0.0")
                    for line in text.splitlines()
                ):
                    assert not work.done(), "the work ended before it could be interrupted"
                os.kill(pid, signal.SIGTERM)
                return await work

        answer = asyncio.run(ask_and_stop())
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 1000


def test_several_workers_answer_alike_and_their_metrics_add_up(tmp_path):
    with served(tmp_path, "--workers", "2", "--provider", "cpu") as (url, _):
        answers = set()
        for _ in range(20):  # a new connection each time: either worker may take it
            answer = httpx.post(
                f"{url}/v1/models/co2-lstm/predict", json={"sequences": [weeks(30)]}
            )
            answers.add(answer.content)
        assert len(answers) == 1
        counted = [
            float(line.split()[-1])
            for line in httpx.get(f"{url}/metrics").text.splitlines()
            if line.startswith("seqserve_requests_total") and "predict" in line
        ]
        assert sum(counted) == 20


def test_a_folder_that_is_not_there_ends_the_command_with_one_line(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "service.cli", "serve", "--models", tmp_path / "none"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "There is no folder" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_models_of_a_repository_are_listed_with_their_accuracy():
    result = subprocess.run(
        [sys.executable, "-m", "service.cli", "models", "--models", str(ZOO)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for name in ("co2-gru", "co2-lstm", "elnino-attention"):
        assert name in result.stdout
    assert "of seasonal naive's" in result.stdout
