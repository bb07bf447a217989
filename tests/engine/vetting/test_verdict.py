"""A file is tried by a child, once, and what was tried is what is loaded."""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from service.engine.vetting import verdict
from service.engine.vetting.verdict import ModelRefused, VettingLimits, vet
from service.settings import ZOO
from tests.engine.graphs import Graph, SumGraph, card
from tests.engine.vetting.hostile import (
    DYNAMIC,
    SIX,
    SOUND,
    SQUARE,
    STATIC,
    changed,
    content,
    custom,
)

LIMITS = VettingLimits(seconds=30, memory=512 * 2**20)


@pytest.fixture
def offer(tmp_path):
    """Return what puts bytes where a repository would have them."""
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)

    def put(data: bytes) -> Path:
        path = folder / "1.onnx"
        path.write_bytes(data)
        return path

    return put


@pytest.fixture
def tried(monkeypatch):
    """Return a list that grows by each child started."""
    children, run = [], subprocess.run

    def count(*args, **kwargs):
        children.append(args)
        return run(*args, **kwargs)

    monkeypatch.setattr(verdict.subprocess, "run", count)
    return children


def refused(path, name="small", limits=LIMITS, cache=None):
    with pytest.raises(ModelRefused) as caught:
        vet(path, name, limits, cache)
    return caught.value.report


@pytest.mark.parametrize("graph", [SOUND, SumGraph()], ids=["a window", "a state"])
def test_a_sound_file_passes_and_says_what_it_took(offer, tmp_path, graph):
    path = offer(content(graph, tmp_path))
    vetted = vet(path, "small", LIMITS, None)
    assert vetted.content == path.read_bytes()
    assert vetted.report.passed
    assert vetted.report.self_check.bit_for_bit
    assert vetted.report.size == len(vetted.content)
    assert 0 < vetted.report.measured.load_seconds < vetted.report.seconds
    assert vetted.report.measured.batch_size == 64
    assert 0 < vetted.report.measured.memory_bytes < LIMITS.memory


def test_a_file_must_run_in_the_largest_batch_that_there_may_be(offer):
    path = offer(custom(SQUARE, SIX, max_length=1_500))  # 9 MB a sequence
    assert vet(path, "small", replace(LIMITS, batch_size=8), None).report.passed
    report = refused(path, limits=replace(LIMITS, batch_size=200, batch_steps=300_000))
    assert "A batch of 200 sequences of 1500 steps could not be run" in report.reason


@pytest.mark.parametrize(("make", "said"), DYNAMIC.values(), ids=DYNAMIC)
def test_a_file_that_does_harm_when_run_harms_the_child_alone(offer, make, said):
    limits = replace(LIMITS, seconds=3) if "3 s" in said else LIMITS
    started = time.monotonic()
    report = refused(offer(make()), limits=limits)
    assert re.search(said, report.reason), report.reason
    assert time.monotonic() - started < 25


BROKEN = {
    "leaks between neighbours": (Graph(leak=0.5), "answers in a batch that differ"),
    "is no number": (Graph(bias=float("nan")), "an answer that is not finite"),
    "is endless": (Graph(bias=float("inf")), "an answer that is not finite"),
    "answers another shape": (
        Graph(horizon=3),
        "output 'predictions' does not fit the card: tensor(float) of (any, 3, 1, 3)",
    ),
    "keeps another state": (SumGraph(width=2), "input 'state.sum' does not fit the card"),
    "has another card's graph": (
        Graph(card=card(features=("load", "wind")), inputs={"sequences": (1, ["b", "t", 1])}),
        "does not fit the card",
    ),
    "has another name": (Graph(card=card(name="other")), "names 'other', the folder 'small'"),
}


@pytest.mark.parametrize(("graph", "said"), BROKEN.values(), ids=BROKEN)
def test_a_file_whose_answers_are_wrong_is_refused(offer, tmp_path, graph, said):
    assert said in refused(offer(content(graph, tmp_path))).reason


def test_all_findings_reach_the_report_within_bounds(offer, tmp_path):
    def change(model):
        for wrong, _ in STATIC.values():
            wrong(model)
        model.graph.node[0].op_type = "X" * 10_000

    report = refused(offer(changed(tmp_path, change)))
    assert 10 <= len(report.findings) <= 20
    assert len(report.reason) < 20 * 500
    assert "\n" not in report.reason


def test_onnx_runtime_s_own_format_is_not_taken_for_onnx(offer, tmp_path):
    """A protobuf may begin so that the runtime would read the rest as a flat buffer."""
    start = b"\x12\x06\x20\x20ORTM"  # the producer's name
    assert "own format" in refused(offer(start + content(SOUND, tmp_path))).reason


def test_the_child_knows_no_secret_of_ours(monkeypatch):
    monkeypatch.setenv("SEQSERVE_STATE_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert "secret" not in verdict._environment().values()


def test_a_verdict_is_kept_by_the_bytes_the_name_and_the_limits(offer, tmp_path, tried):
    cache = tmp_path / "cache"
    path = offer(content(SOUND, tmp_path))
    first = vet(path, "small", LIMITS, cache)
    assert vet(path, "small", LIMITS, cache) == first
    assert len(tried) == 1
    refused(path, "other", cache=cache)
    vet(path, "small", replace(LIMITS, seconds=29), cache)
    assert len(tried) == 3
    bad = offer(content(Graph(leak=0.5), tmp_path))
    assert refused(bad, cache=cache) == refused(bad, cache=cache)
    assert len(tried) == 4
    vet(offer(first.content), "small", LIMITS, cache, anew=True)
    assert len(tried) == 5


def test_of_many_who_start_at_once_one_tries(offer, tmp_path, tried):
    path, cache = offer(content(SOUND, tmp_path)), tmp_path / "cache"
    with ThreadPoolExecutor(6) as workers:
        found = list(workers.map(lambda _: vet(path, "small", LIMITS, cache), range(6)))
    assert len(tried) == 1
    assert all(vetted == found[0] for vetted in found)


def test_what_the_machine_may_be_to_blame_for_is_tried_again_later(offer, tmp_path, tried):
    cache, hurry = tmp_path / "cache", replace(LIMITS, seconds=0.01)
    path = offer(content(SOUND, tmp_path))
    assert "took more than 0.01 s" in refused(path, limits=hurry, cache=cache).reason
    refused(path, limits=hurry, cache=cache)
    assert len(tried) == 1
    (kept,) = cache.glob("*.json")
    long_ago = time.time() - verdict.PATIENCE - 1
    os.utime(kept, (long_ago, long_ago))
    refused(path, limits=hurry, cache=cache)
    assert len(tried) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_child_ended_from_outside_says_nothing_of_the_file(offer, tmp_path, monkeypatch, number):
    path, run = offer(content(SOUND, tmp_path)), subprocess.run

    def end(_command, **kwargs):
        heed = f"signal.signal({number}, signal.SIG_DFL)"  # a background job ignores SIGINT
        code = f"import os, signal; {heed}; os.kill(os.getpid(), {number})"
        return run([sys.executable, "-c", code], **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(verdict.subprocess, "run", end)
        assert f"ended by {number.name}" in refused(path, cache=tmp_path / "cache").reason
    assert vet(path, "small", LIMITS, tmp_path / "cache").report.passed


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"findings": 1}', "[" * 50_000])
def test_a_child_that_answers_nonsense_passes_nothing(offer, tmp_path, monkeypatch, answer):
    path, run = offer(content(SOUND, tmp_path)), subprocess.run

    def say(_command, **kwargs):
        return run([sys.executable, "-c", f"print({answer!r})"], **kwargs)

    monkeypatch.setattr(verdict.subprocess, "run", say)
    assert refused(path).transient


def test_a_verdict_that_another_user_could_have_written_is_not_believed(offer, tmp_path, tried):
    path, cache = offer(content(SOUND, tmp_path)), tmp_path / "cache"
    vet(path, "small", LIMITS, cache)
    cache.chmod(0o777)
    vet(path, "small", LIMITS, cache)
    assert len(tried) == 2
    cache.chmod(0o755)
    (kept,) = cache.glob("*.json")
    kept.chmod(kept.stat().st_mode | stat.S_IWGRP)
    vet(path, "small", LIMITS, cache)
    assert len(tried) == 3


def test_a_file_swapped_while_it_is_checked_is_not_what_is_loaded(offer, tmp_path, monkeypatch):
    path, run = offer(content(SOUND, tmp_path)), subprocess.run
    before, other = path.read_bytes(), content(Graph(leak=0.5), tmp_path)

    def swap(*args, **kwargs):
        path.write_bytes(other)  # in place: the same inode, and the same name
        return run(*args, **kwargs)

    monkeypatch.setattr(verdict.subprocess, "run", swap)
    vetted = vet(path, "small", LIMITS, tmp_path / "cache")
    assert vetted.content == before
    assert "differ" in refused(path, cache=tmp_path / "cache").reason


def test_a_kept_verdict_costs_a_start_next_to_nothing(tmp_path):
    (path,) = (ZOO / "co2-gru").glob("*.onnx")
    vet(path, "co2-gru", LIMITS, tmp_path)
    started = time.perf_counter()
    vet(path, "co2-gru", LIMITS, tmp_path)
    assert time.perf_counter() - started < 0.05


def test_the_child_ends_by_itself_if_nobody_waits_for_it():
    order = '{"seconds": 0.5, "memory": 100000000}'
    command = [sys.executable, "-P", "-m", verdict.PROBE, order]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=verdict._environment()) as child:
        assert child.wait(20) == -14  # SIGALRM, for its input never ends
