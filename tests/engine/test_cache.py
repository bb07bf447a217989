"""What is kept is made once, and never worth a failure."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from models.durable import lock
from service.engine.cache import UNREAD, Cache, key_of
from tests.doubles import full_disk

MAKES_ONE = """
import sys
from pathlib import Path
from service.engine.cache import Cache


def make():
    print("begun", flush=True)
    return 6 if sys.stdin.readline() else 0


Cache(Path(sys.argv[1]), int, str, patience=10).get("a", make)
"""


class Maker:
    """Makes a number, and counts how often."""

    def __init__(self):
        self.made = 0

    def __call__(self):
        self.made += 1
        return 7


@pytest.fixture
def kept(tmp_path):
    return Cache(tmp_path / "new" / "cache", int, str, patience=10)


def test_a_value_is_made_once(kept):
    make = Maker()
    assert [kept.get("a", make), kept.get("a", make), kept.get("b", make)] == [7, 7, 7]
    assert make.made == 2


def test_a_generous_umask_does_not_cost_what_is_kept(kept):
    make, before = Maker(), os.umask(0o002)
    try:
        kept.get("a", make)
    finally:
        os.umask(before)
    kept.get("a", make)
    assert make.made == 1


def test_a_value_put_is_the_one_that_is_found(kept):
    kept.get("a", Maker())
    assert kept.put("a", 8) == 8
    assert kept.get("a", Maker()) == 8


def test_what_is_stale_is_made_again(tmp_path):
    kept, make = Cache(tmp_path, int, str, 10, fresh=lambda _, age: age < 100), Maker()
    kept.get("a", make)
    kept.get("a", make)
    assert make.made == 1
    old = time.time() - 101
    os.utime(tmp_path / "a.json", (old, old))
    kept.get("a", make)
    assert make.made == 2


def test_what_nobody_has_read_for_months_is_removed_and_nothing_else(tmp_path):
    kept, make, before = Cache(tmp_path, int, str, 10), Maker(), time.time() - UNREAD
    read, unread, held, young, again = (key_of("costs", number) for number in range(5))
    for key in (read, unread, held, young, again):
        kept.get(key, make)
    for suffix in (".json", ".lock"):
        (tmp_path / f"strangers{suffix}").touch()
    (tmp_path / f"costs-{'0' * 32}.lock").touch()  # of what could not be made
    for path in tmp_path.iterdir():
        age = 100 if path.stem == young else -100
        os.utime(path, (before + age, before + age))
    kept.get(read, make)
    kept.put(again, 7)
    with (tmp_path / f"{held}.lock").open("rb") as maker:
        lock(maker.fileno(), 1)
        kept.get("another", make)
    there = {path.stem for path in tmp_path.iterdir()}
    assert there == {read, held, young, again, "strangers", "another"}
    made = make.made
    assert [kept.get(key, make) for key in (read, held, young, again)] == [7] * 4
    assert make.made == made


def test_to_read_a_value_makes_it_no_fresher(kept):
    kept.get("a", Maker())
    path, old = kept.folder / "a.json", time.time() - 99
    os.utime(path, (old, old))
    kept.get("a", Maker())
    assert path.stat().st_mtime == pytest.approx(old, abs=1)


@pytest.mark.parametrize("damage", ["", "{}", '"x"', "[" * 100_000])
def test_what_is_damaged_is_made_again(kept, damage):
    make = Maker()
    kept.get("a", make)
    (kept.folder / "a.json").write_text(damage)
    assert kept.get("a", make) == 7
    assert make.made == 2
    assert kept.get("a", make) == 7
    assert make.made == 2


def test_a_full_disk_keeps_nothing_and_leaves_nothing(kept):
    make = Maker()
    with full_disk():
        assert [kept.get("a", make), kept.put("b", 8)] == [7, 8]
    assert {path.suffix for path in kept.folder.iterdir()} == {".lock"}
    assert kept.get("a", make) == 7
    assert make.made == 2


def test_a_pipe_in_the_place_of_what_is_kept_is_not_waited_for(kept):
    kept.folder.mkdir(mode=0o700, parents=True)
    os.mkfifo(kept.folder / "a.json", 0o600)
    assert kept.get("a", Maker()) == 7


def test_who_waits_for_a_value_does_not_make_it_too(kept):
    make, begun, go_on = Maker(), threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(10)
        return make()

    threads = [threading.Thread(target=kept.get, args=("a", slow)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert make.made == 1


def test_a_process_that_stopped_while_it_made_a_value_is_not_waited_for_for_ever(tmp_path):
    kept, make = Cache(tmp_path, int, str, patience=0.2), Maker()
    with subprocess.Popen(
        [sys.executable, "-c", MAKES_ONE, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"begun\n"
        other.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            assert kept.get("a", make) == 7
            assert 0.2 <= time.monotonic() - started < 5
            assert kept.get("a", make) == 7
            assert make.made == 1
        finally:
            other.kill()


def test_a_key_tells_its_kind_and_all_that_it_depends_on():
    assert key_of("costs", 1, "a") == key_of("costs", 1, "a")
    assert key_of("costs", 1, "a").startswith("costs-")
    assert len({key_of("costs", 1, "a"), key_of("costs", "1a"), key_of("verdict", 1, "a")}) == 3
