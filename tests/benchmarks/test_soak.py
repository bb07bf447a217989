"""The soak sees a leak for what it is, tells noise from growth, and asks for everything."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.soak import KIND, LEAKING
from benchmarks.soaking.footprint import Footprint, ended, family, lasting, look, total
from benchmarks.soaking.slope import BLOCKS, HOUR, slope
from benchmarks.soaking.traffic import Traffic
from examples.serving import serving
from tests.http.inprocess import weeks

LOOKS = np.arange(0, HOUR, 5.0)


def noise(seed: int, memory: float = 0.9) -> np.ndarray:
    """Return figures that hardly change from one look to the next, as memory does."""
    generator = np.random.default_rng(seed)
    found = np.empty(len(LOOKS))
    found[0] = generator.normal()
    for place in range(1, len(found)):
        found[place] = memory * found[place - 1] + generator.normal() * np.sqrt(1 - memory**2)
    return found


def test_the_bounds_hold_the_true_slope_nineteen_times_of_twenty():
    for true in (0.0, 3.0):
        held = 0
        for seed in range(200):
            found = slope(LOOKS, 200 + noise(seed) + true * LOOKS / HOUR)
            held += found.low <= true <= found.high
        assert held >= 180


def test_an_hour_tells_a_mib_from_half_a_mib_of_noise_and_five_minutes_do_not():
    values = noise(1) / 2
    hour, short = slope(LOOKS, values), slope(LOOKS[:60], values[:60])
    assert hour.resolution < 1 < short.resolution


def test_a_burst_that_goes_again_moves_nothing():
    values = 200 + noise(2) / 10
    calm = slope(LOOKS, values)
    values[300:310] += 500
    assert slope(LOOKS, values).value == pytest.approx(calm.value, abs=0.2)


def test_too_few_looks_are_refused():
    with pytest.raises(ValueError, match="too few"):
        slope(LOOKS[: BLOCKS - 1], LOOKS[: BLOCKS - 1])


def test_the_footprint_is_that_of_a_whole_family():
    code = (
        "import subprocess, sys\n"
        "inner = 'import sys; kept = bytearray(60_000_000);"
        "print(1, flush=True); sys.stdin.read()'\n"
        "subprocess.run([sys.executable, '-c', inner])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"1\n"
        seen, members = look(process.pid), family(process.pid)
        process.stdin.close()
    had = total(seen, members)
    assert len(members) == 2
    assert had.rss > had.pss > had.anonymous > 57


def test_who_comes_and_goes_is_not_counted():
    worker, checker = Footprint(3, 2, 1), Footprint(300, 200, 100)
    looks = [{1: worker, 2: worker}, {1: worker, 2: worker, 3: checker}, {1: worker, 2: worker}]
    assert [total(each, lasting(looks)) for each in looks] == [Footprint(6, 4, 2)] * 3
    assert not lasting([])
    assert not ended(looks)
    assert ended([*looks, {1: worker, 4: worker}]) == {2}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soak")
    environment = {
        "PYTHONPATH": os.pathsep.join([str(LEAKING), str(Path.cwd())]),
        "SEQSERVE_STORE": f"sqlite:///{folder}/sessions.db",
        "SEQSERVE_STATES": str(folder / "states"),
        "SEQSERVE_MAX_BODY_BYTES": "200000",
        "SEQSERVE_SPARES": "0",
        "SOAK_LEAK": str(folder / "leak"),
    }
    with serving(folder / "log", "--provider", "cpu", environment=environment) as service:
        yield service, folder / "leak"


def test_every_kind_of_request_is_asked_and_gets_an_answer_that_is_good(service, monkeypatch):
    monkeypatch.setattr("benchmarks.soaking.traffic.RELOADS", 0.2)
    served, _ = service
    traffic = Traffic(served.url, clients=4, seed=1)

    async def ask() -> None:
        asking = asyncio.create_task(traffic.run())
        async with asyncio.timeout(60):
            while len(traffic.done) < 15 and not asking.done():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking

    asyncio.run(ask())
    assert not traffic.faults
    assert {"JSON", "Arrow", "sessions", "stream", "left", "wrong", "reload"} <= traffic.done.keys()


def test_a_planted_leak_is_kept_from_when_it_is_planted(service):
    served, leak = service

    def has() -> float:
        seen = look(served.pid)
        return getattr(total(seen, seen), KIND)

    def grown() -> float:
        before = has()
        for _ in range(50):
            body = {"sequences": [weeks(30)]}
            httpx.post(f"{served.url}/v1/models/co2-gru/predict", json=body).raise_for_status()
        return has() - before

    before = grown()
    leak.write_bytes(bytes(2**20))
    assert before < 20
    assert grown() > before + 40
