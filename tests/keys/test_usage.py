"""Counts that many processes share, on a real file."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from service.keys.errors import (
    QuotaReached,
    RateReached,
    UnusableUsage,
    UsageLocked,
    UsageUnavailable,
)
from service.keys.limits import Quota, Rate
from service.keys.usage import Meter, Usage

KEY, OTHER = "0123456789ab", "ba9876543210"
NOON = 20_000 * 86_400.0 + 43_200
TAKER = """
import sys
from pathlib import Path
from service.keys.errors import UsageLocked
from service.keys.limits import Quota, Rate
from service.keys.usage import Meter, Usage
limits = Rate.parse(sys.argv[2]), Quota.parse("1000000/day")
meter = Meter(Usage.open(Path(sys.argv[1])), "0123456789ab", *limits)
print("ready", flush=True)
sys.stdin.readline()


def take():
    while True:
        try:
            return meter.take({now})
        except UsageLocked:
            pass


print(sum(take() is None for _ in range(int(sys.argv[3]))), flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deeper" / "usage"


def meter(path, rate=None, quota=None, key=KEY):
    limits = Rate.parse(rate) if rate else None, Quota.parse(quota) if quota else None
    return Meter(Usage.open(path), key, *limits)


def taker(path, rate, times):
    """Return a process that is ready to take many times at once."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKER.format(now=NOON), str(path), rate, str(times)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def test_a_rate_and_a_quota_hold_together_and_a_refusal_uses_up_neither(path):
    limited = meter(path, "2/s", "3/day")
    told = [limited.take(NOON) for _ in range(5)]
    assert told[:2] == [None, None]
    assert all(isinstance(each, RateReached) for each in told[2:])
    assert limited.take(NOON + 10) is None
    used_up = limited.take(NOON + 20)
    assert isinstance(used_up, QuotaReached)
    assert used_up.headers == {"retry-after": str(43_200 - 20)}
    assert limited.take(NOON + 43_200) is None


def test_counts_survive_whoever_counted(path):
    assert meter(path, quota="2/day").take(NOON) is None
    assert meter(path, quota="2/day").take(NOON) is None
    assert isinstance(meter(path, quota="2/day").take(NOON), QuotaReached)
    assert meter(path, quota="2/day", key=OTHER).take(NOON) is None
    assert Usage.open(path).used(KEY).requests == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_clock_that_wavers_at_midnight_gives_nothing_away(path):
    limited, midnight = meter(path, quota="2/day"), NOON + 43_200
    assert limited.take(midnight + 0.1) is None
    assert limited.take(midnight - 0.1) is None
    assert isinstance(limited.take(midnight + 0.2), QuotaReached)


@pytest.mark.timeout(60)
def test_processes_that_take_at_once_take_no_more_than_there_is(path):
    takers = [taker(path, "3000/h", 20_000) for _ in range(3)]
    for each in takers:
        go(each)
    taken = [int(each.communicate(timeout=40)[0]) for each in takers]
    assert sum(taken) == 3000
    assert Usage.open(path).used(KEY).requests == 3000


@pytest.mark.timeout(60)
def test_a_process_that_is_killed_while_it_counts_blocks_nobody(path):
    limited = meter(path, "1000000/s")
    process = taker(path, "9/s", 10**9)
    go(process)
    time.sleep(0.05)  # it is under way: half its time it holds the lock
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert limited.take(NOON + 60) is None


def test_a_file_that_is_cut_short_goes_on_from_nothing(path):
    limited, other = meter(path, quota="2/day"), meter(path, quota="2/day", key=OTHER)
    assert limited.take(NOON) is other.take(NOON) is None
    os.truncate(path, 0)
    assert [other.take(NOON) for _ in range(2)] == [None, None]
    assert isinstance(other.take(NOON), QuotaReached)
    assert [limited.take(NOON) for _ in range(2)] == [None, None]
    again = meter(path, quota="2/day", key=OTHER)
    assert isinstance(again.take(NOON), QuotaReached)


def test_keys_that_are_new_after_a_cut_take_nobodys_place(path):
    first, second = meter(path, quota="2/day"), meter(path, quota="2/day", key=OTHER)
    assert first.take(NOON) is second.take(NOON) is None
    os.truncate(path, 0)
    third = meter(path, quota="2/day", key="c" * 12)
    for each in (third, second, first, third, second, first):
        assert each.take(NOON) is None
    assert {each.take(NOON).__class__ for each in (first, second, third)} == {QuotaReached}
    assert meter(path, quota="2/day").take(NOON).__class__ is QuotaReached


def test_a_key_that_is_made_after_a_cut_leaves_a_file_that_opens(path):
    usage = Usage.open(path)
    usage.place(KEY)
    os.truncate(path, 0)
    usage.place(OTHER)
    assert Usage.open(path).place(OTHER) == usage.place(OTHER)


def test_a_thousand_keys_find_their_places_at_once(path):
    usage, names = Usage.open(path), [f"{number:012x}" for number in range(1000)]
    places = {usage.place(name) for name in names}
    began = time.perf_counter()
    again = Usage.open(path)
    assert {again.place(name) for name in names} == places
    assert time.perf_counter() - began < 1
    assert path.stat().st_size == 64 * 1001


def test_what_cannot_be_counted_is_not_let_in(path):
    usage = Usage.open(path)
    limited = Meter(usage, KEY, Rate.parse("2/s"), None)
    usage.close()
    with pytest.raises(UsageUnavailable):
        limited.take(NOON)


def test_whoever_has_the_file_for_long_is_not_waited_for(path):
    limited = meter(path, "2/s")
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UsageLocked):
            limited.take(NOON)
    assert limited.take(NOON) is None


def test_a_process_that_keeps_the_file_locked_is_not_waited_for_for_ever(path, monkeypatch):
    usage = Usage.open(path)
    monkeypatch.setattr("service.keys.usage.PATIENCE", 0.05)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UnusableUsage, match="locked"):
            Usage.open(path)
        with pytest.raises(UnusableUsage, match="locked"):
            usage.used(KEY)
    assert usage.used(KEY).requests == 0


def test_another_file_is_left_as_it_is(path):
    path.parent.mkdir()
    path.write_text("Dear diary")
    with pytest.raises(UnusableUsage, match="something else"):
        Usage.open(path)
    assert path.read_text() == "Dear diary"
    with pytest.raises(UnusableUsage, match="Is a directory"):
        Usage.open(path.parent)
    os.mkfifo(path.with_name("pipe"))
    with pytest.raises(UnusableUsage, match="Illegal seek"):
        Usage.open(path.with_name("pipe"))
