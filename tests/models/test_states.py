"""The state of a model is whole at every instant, and changed by one at a time."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

import models.states
from models.serving import (
    Serving,
    ServingChanged,
    ServingNotKept,
    ServingNotKeptNow,
    ServingUnfit,
    ServingUnreadable,
)
from models.states import States
from tests.doubles import full_disk


@pytest.fixture
def states(tmp_path) -> States:
    return States(tmp_path)


def test_a_model_without_a_file_has_the_default_state(states):
    assert states.read("small") == Serving()
    assert states.change("small", lambda state: state) == Serving()
    assert not states.path("small").exists()


def test_changes_of_many_at_once_are_all_kept(states):
    def load(version):
        return States(states.folder).change("small", lambda state: state.with_loaded(version))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(load, range(1, 41)))
    assert states.read("small").loaded == tuple(range(1, 41))


def test_a_change_of_another_state_is_refused(states):
    tag = states.read("small").tag
    states.change("small", lambda state: state.with_unloaded(None), tag)
    with pytest.raises(ServingChanged):
        states.change("small", lambda state: state.with_loaded(None), tag)
    with pytest.raises(ServingChanged):
        states.replace("small", Serving(), tag)
    assert states.read("small").offline


def test_an_unreadable_state_is_replaced_and_not_changed(states):
    states.replace("small", Serving(offline=True))
    states.path("small").write_text("{")
    with pytest.raises(ServingUnreadable, match=r"serving\.json does not fit"):
        states.read("small")
    with pytest.raises(ServingUnreadable):
        states.change("small", lambda state: state.with_loaded(1))
    with pytest.raises(ServingChanged):
        states.replace("small", Serving(), Serving().tag)
    states.replace("small", Serving(loaded=(1,)))
    assert states.read("small").loaded == (1,)


def test_whoever_holds_the_lock_for_ever_is_not_waited_for_as_long(states, monkeypatch):
    monkeypatch.setattr(models.states, "PATIENCE", 0.1)
    states.replace("small", Serving(loaded=(1,)))
    handle = os.open(states.path("small").parent, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(ServingNotKeptNow, match="locked"):
        states.change("small", lambda state: state.with_loaded(2))
    os.close(handle)
    assert states.change("small", lambda state: state.with_loaded(2)).loaded == (1, 2)


def test_a_full_disk_is_told_from_a_folder_that_is_not_ours_to_write(states):
    states.replace("small", Serving(loaded=(1,)))
    with full_disk(), pytest.raises(ServingNotKeptNow, match="File too large"):
        states.replace("small", Serving(loaded=(2,)))
    assert states.read("small").loaded == (1,)
    assert [each.name for each in states.path("small").parent.iterdir()] == ["serving.json"]
    (states.folder / "file").touch()
    with pytest.raises(ServingNotKept, match="cannot be written"):
        States(states.folder / "file").replace("small", Serving(offline=True))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_no_state_and_not_waited_for(states, make):
    states.path("small").parent.mkdir()
    make(states.path("small"))
    with pytest.raises(ServingUnreadable, match="Not a regular file"):
        states.read("small")


def test_a_state_of_endless_bytes_is_not_read(states):
    states.path("small").parent.mkdir()
    states.path("small").touch()
    os.truncate(states.path("small"), 2**40)
    with pytest.raises(ServingUnreadable, match="More than"):
        states.read("small")


@pytest.mark.parametrize(
    "fields",
    [
        {"traffic": {}},
        {"traffic": {"stable": 1}},
        {"traffic": {"1": 0}},
        {"traffic": {"1": float("inf")}},
        {"traffic": {"1": float("nan")}},
        {"traffic": {"01": 1}},
        {"aliases": {"7": 1}},
        {"aliases": {"a/b": 1}},
        {"aliases": {"stable": 0}},
        {"shadow": {"version": "stable"}},
        {"shadow": {"version": 1, "share": 0}},
        {"withdrawn": (1,), "loaded": (1,)},
        {"schema_version": 2},
        {"surplus": 1},
    ],
    ids=str,
)
def test_a_state_that_says_nothing_sound_is_refused(fields):
    with pytest.raises(ValidationError):
        Serving(**fields)
    with pytest.raises(ServingUnfit):
        Serving().with_(**fields)


def test_shares_are_of_versions_whatever_they_are_called():
    state = Serving(aliases={"stable": 1, "old": 1}, traffic={"stable": 1, "old": 1, "2": 2})
    assert state.weights() == {1: 0.5, 2: 0.5}
    assert Serving().weights() == {}
