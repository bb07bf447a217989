"""Keys in force, by a file that our own command makes; the clock is an argument."""

import os
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from service.keys import ring as ringing
from service.keys.document import read
from service.keys.errors import Forbidden, UnusableKeys, UsageUnavailable, WrongKey
from service.keys.ring import Keyring
from service.keys.secrets import digest, issue
from service.keys.usage import Usage
from tests.doubles import full_disk
from tests.keys.made import Keys


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


def run(path, *words, ok=True):
    return Keys(path.parent).run(*words, fails=not ok)


def add(path, name, *words):
    return Keys(path.parent).add(name, *words).encode()


def ring(path) -> Keyring:
    return Keyring(path, Usage.open(path.with_name("usage")))


def test_a_key_that_was_added_opens_what_was_said(path):
    text = add(path, "acme", "--scope", "sessions", "--tenant", "Acme", "--rate", "5/s")
    assert path.stat().st_mode & 0o777 == 0o600
    grant = ring(path).find(text, time.time())
    assert (grant.name, grant.tenant) == ("acme", "Acme")
    assert grant.scopes == {"predict", "sessions"}
    assert grant.meter is not None


def test_the_file_and_the_list_hold_nothing_that_opens(path):
    text = add(path, "acme", "--quota", "5/day").decode()
    secret = text.split("_", 2)[2]
    listed = run(path, "list")
    assert secret not in path.read_text() + listed
    assert digest(text.encode()).hex() not in listed
    assert listed == "acme  predict  0 of 5/day"


def test_what_is_not_a_key_word_for_word_is_told_the_same(path):
    text = add(path, "acme")
    keys, now = ring(path), time.time()
    wrong = text[:-1] + (b"A" if text[-1:] != b"A" else b"B")
    other = issue().text.encode()
    said = set()
    for each in (other, wrong, text + b"A", text[:-1], b"", b"\xff" * 60, text.upper()):
        with pytest.raises(WrongKey) as caught:
            keys.find(each, now)
        said.add(str(caught.value))
    assert said == {"There is no such key."}


def test_an_id_that_is_unknown_costs_the_same_hash_and_the_same_comparison(path, monkeypatch):
    text = add(path, "acme")
    keys, now, done = ring(path), time.time(), []

    def noted(name, real):
        def call(*arguments):
            done.append(name)
            return real(*arguments)

        return call

    for name in ("digest", "compare_digest"):
        monkeypatch.setattr(ringing, name, noted(name, getattr(ringing, name)))
    for each in (text, text[:-1] + b"-", issue().text.encode(), b"nonsense"):
        done.clear()
        with suppress(WrongKey):
            keys.find(each, now)
        assert done == ["digest", "compare_digest"]


def test_a_key_expires_to_the_second(path):
    text = add(path, "brief", "--days", "1")
    end = read(path).keys[0].expires.timestamp()
    keys = ring(path)
    grant = keys.find(text, end - 1)
    assert keys.holds(grant, end - 0.001)
    assert not keys.holds(grant, end)
    assert keys.renew(grant, end) is None
    with pytest.raises(WrongKey, match="expired"):
        keys.find(text, end)


def test_what_is_revoked_is_over_at_the_next_look_and_others_stay(path):
    gone, stays = add(path, "gone"), add(path, "stays")
    now = time.time()
    keys = ring(path)
    was, remains = keys.find(gone, now), keys.find(stays, now)
    run(path, "revoke", "gone")
    assert keys.holds(was, now)
    keys.look()
    assert not keys.holds(was, now)
    assert keys.renew(was, now) is None
    assert keys.renew(remains, now).name == "stays"
    with pytest.raises(WrongKey):
        keys.find(gone, now)
    assert keys.find(stays, now).name == "stays"


def test_a_slip_of_the_pen_stops_nobody_and_a_file_that_is_gone_lets_nobody_in(path, caplog):
    text, now = add(path, "acme"), time.time()
    keys, good = ring(path), path.read_bytes()
    path.write_bytes(good[:-20])
    keys.look()
    assert keys.find(text, now).name == "acme"
    assert "the keys before stay in force" in caplog.text
    path.unlink()
    keys.look()
    with pytest.raises(WrongKey):
        keys.find(text, now)
    path.write_bytes(good)
    keys.look()
    assert keys.find(text, now).name == "acme"


def test_a_tenant_is_the_keys_own_or_one_it_may_name(path):
    words = (["--tenant", "acme"], ["--any-tenant"], [])
    texts = [add(path, f"key-{number}", *more) for number, more in enumerate(words)]
    found, now = ring(path), time.time()
    own, free, none = (found.find(text, now) for text in texts)
    asked = [(own, None), (own, "acme"), (free, "b"), (free, None), (none, None), (none, "")]
    told = [grant.tenant_of(tenant) for grant, tenant in asked]
    assert told == ["acme", "acme", "b", "", "", ""]
    for grant, asked in ((own, "b"), (own, ""), (none, "b")):
        with pytest.raises(Forbidden):
            grant.tenant_of(asked)


@pytest.mark.parametrize(
    "words",
    [
        ("add", "a b", "--scope", "predict"),
        ("add", "../x", "--scope", "predict"),
        ("add", "acme", "--scope", "everything"),
        ("add", "acme"),
        ("add", "twice", "--scope", "predict"),
        ("add", "acme", "--scope", "predict", "--rate", "fast"),
        ("add", "acme", "--scope", "predict", "--burst", "3"),
        ("add", "acme", "--scope", "predict", "--tenant", "a", "--any-tenant"),
        ("add", "acme", "--scope", "predict", "--tenant", "a/b"),
        ("revoke", "nobody"),
    ],
)
def test_a_command_that_makes_no_sense_changes_nothing(path, words):
    add(path, "twice")
    before = path.read_bytes()
    said = run(path, *words, ok=False)
    assert "Error: " in said
    assert "Traceback" not in said
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"version": 2}',
        '{"keys": [{}]}',
        '{"keys": [], "a": 1}',
        '{"version":"1"}',
    ],
)
def test_a_file_that_is_no_file_of_keys_is_refused_with_its_name(path, text):
    path.write_text(text)
    with pytest.raises(UnusableKeys, match=r"keys\.json: "):
        ring(path)
    assert "keys.json" in run(path, "list", ok=False)


def test_a_pipe_in_the_place_of_the_file_of_keys_is_not_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(UnusableKeys, match="Not a regular file"):
        ring(path)


def test_some_who_add_at_once_all_have_their_way(path):
    command = [sys.executable, "-m", "service.cli", "keys", "add"]
    options = ["--scope", "predict", "--keys", str(path)]
    running = [
        subprocess.Popen([*command, f"key-{number}", *options], stdout=subprocess.DEVNULL)
        for number in range(3)
    ]
    assert [process.wait(50) for process in running] == [0, 0, 0]
    assert {key.name for key in read(path).keys} == {"key-0", "key-1", "key-2"}


def test_keys_that_find_no_room_to_be_counted_are_refused_and_hold_up_no_revocation(path):
    gone, stays, now = add(path, "gone"), add(path, "stays"), time.time()
    keys = ring(path)
    assert keys.find(gone, now).name == "gone"
    run(path, "revoke", "gone")
    counted = add(path, "counted", "--rate", "5/s")
    with full_disk(path.with_name("usage").stat().st_size):
        keys.look()
        with pytest.raises(WrongKey):
            keys.find(gone, now)
        assert keys.find(stays, now).name == "stays"
        grant = keys.find(counted, now)
        with pytest.raises(UsageUnavailable):
            grant.meter.take(now)
    assert [grant.meter.take(now) is None for _ in range(6)] == [True] * 5 + [False]
