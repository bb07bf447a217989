"""How many processors: what the container allows, and never what the machine has."""

import os

import pytest

from service.engine.cpus import available_cpus

MACHINE = 16


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MACHINE)), raising=False)


def modern(folder, text):
    (folder / "cpu.max").write_text(text)


def older(folder, quota, period="100000"):
    (folder / "cpu").mkdir()
    (folder / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu/cpu.cfs_period_us").write_text(f"{period}\n")


def test_without_a_quota_affinity_decides(tmp_path):
    assert available_cpus(tmp_path) == MACHINE
    assert available_cpus(tmp_path / "nowhere") == MACHINE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", MACHINE),
        ("200000 100000\n", 2),
        ("250000 100000\n", 2),  # a third runner would be throttled
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("30000 10000\n", 3),
        ("6400000 100000\n", MACHINE),
    ],
)
def test_a_quota_of_cgroup_v2_is_kept(tmp_path, text, expected):
    modern(tmp_path, text)
    assert available_cpus(tmp_path) == expected


@pytest.mark.parametrize(
    ("quota", "expected"), [("-1", MACHINE), ("400000", 4), ("150000", 1), ("1000", 1)]
)
def test_a_quota_of_cgroup_v1_is_kept(tmp_path, quota, expected):
    older(tmp_path, quota)
    assert available_cpus(tmp_path) == expected


def test_cgroup_v2_goes_before_v1(tmp_path):
    modern(tmp_path, "300000 100000\n")
    older(tmp_path, "700000")
    assert available_cpus(tmp_path) == 3


@pytest.mark.parametrize("text", ["", "max", "1 2 3"])
def test_a_file_of_another_form_counts_as_absent(tmp_path, text):
    modern(tmp_path, text)
    assert available_cpus(tmp_path) == MACHINE
    older(tmp_path, "300000")
    assert available_cpus(tmp_path) == 3


def test_fewer_processors_than_the_quota_are_all_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    modern(tmp_path, "800000 100000\n")
    assert available_cpus(tmp_path) == 2


@pytest.mark.parametrize(("count", "expected"), [(6, 6), (None, 1)])
def test_where_affinity_is_unknown_the_machine_is_counted(tmp_path, monkeypatch, count, expected):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert available_cpus(tmp_path) == expected


def test_on_this_machine_there_is_at_least_one():
    assert available_cpus() >= 1
