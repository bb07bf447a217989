"""Versions that come and go while the engine runs, and who answers meanwhile."""

import asyncio
import gc
import os
import shutil
import threading
import time
import weakref

import pytest

from models.repository import Repository
from models.serving import ServingChanged, ServingNotKept, ServingUnfit
from models.states import FILE
from service.engine import loading
from service.engine.core import Engine, EngineOptions
from service.engine.errors import ModelNotFound, ModelUnavailable, ModelWithdrawn
from service.engine.watcher import ABREAST
from tests.doubles import VERDICTS, row, within
from tests.engine.test_core import ask, publish, publish_garbage

OPTIONS = EngineOptions(provider="cpu", threads=1, cache=VERDICTS, watch_seconds=0.02)
ALONE = EngineOptions(provider="cpu", threads=1, cache=VERDICTS, watch_seconds=0, idle_seconds=0)


@pytest.fixture
def repository(tmp_path) -> Repository:
    found = Repository(tmp_path / "models")
    publish(found)
    publish(found)
    return found


async def until(condition, seconds=10.0):
    """Wait for what another task or process brings about."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.01)


def serves(engine, name="small"):
    model = engine.newest(name)
    return model and model.entry.version


def states(engine, name="small"):
    return {each.version: each.state for each in engine.index(name)}


async def test_a_version_that_is_published_serves_without_a_restart(repository):
    async with Engine(repository, OPTIONS) as engine:
        publish(repository)
        await until(lambda: serves(engine) == 3)
        assert await within(ask(engine, 100)) == 103
        publish(repository, "young")
        await until(lambda: "young" in engine.names())
        assert await within(ask(engine, 100, "young")) == 101


async def test_a_published_version_that_fails_leaves_the_old_one_and_says_why(repository):
    async with Engine(repository, OPTIONS) as engine:
        broken = publish_garbage(repository)
        await until(lambda: broken in engine.failures("small"))
        assert await within(ask(engine, 100)) == 102
        (state,) = [each for each in engine.index("small") if each.version == broken]
        assert state.state == "UNAVAILABLE"
        assert "no ONNX model" in state.reason


async def test_a_version_that_failed_is_tried_again_when_its_file_changes(repository, tmp_path):
    async with Engine(repository, OPTIONS) as engine:
        broken = repository.find("small", publish_garbage(repository))
        await until(lambda: 3 in engine.failures("small"))
        sound = Repository(tmp_path / "elsewhere")
        publish(sound)
        sound.find("small").path.rename(broken.path)
        await until(lambda: serves(engine) == 3)
        assert engine.failures("small") == {}


async def test_a_version_that_failed_is_not_tried_in_a_loop_but_when_asked(repository):
    tried = []
    async with Engine(repository, OPTIONS, lambda *key: tried.append(key)) as engine:
        publish(repository, bias=float("nan"))
        await until(lambda: 3 in engine.failures("small"))
        first = engine.failures("small")[3]
        publish(repository, "other")  # several looks later
        await until(lambda: "other" in engine.names())
        assert tried == [("small", 2), ("other", 1)]
        with pytest.raises(ModelUnavailable, match="not finite"):
            await within(engine.changes.load("small", 3))
        with pytest.raises(ModelUnavailable, match="not finite"):
            await within(engine.changes.load("small"))
        assert engine.failures("small")[3] == first
        assert not repository.states.path("small").exists()
        assert await within(ask(engine, 100)) == 102


async def test_a_request_that_holds_the_old_version_is_answered_by_it(repository):
    async with Engine(repository, ALONE) as engine:
        old = await engine.model("small")
        publish(repository)
        await within(engine.changes.load("small"))
        assert serves(engine) == 3
        (answer,), _ = await within(engine.predict(old, [row(100)]))
        assert answer.predictions[0, 0, 0] == 102


async def test_a_version_is_given_back_when_its_last_request_lets_go(repository):
    async with Engine(repository, ALONE) as engine:
        held = await engine.model("small")
        await within(engine.predict(held, [row(1)]))
        gone, session = weakref.ref(held), weakref.ref(held.batcher._runner)
        runners = [each for each in threading.enumerate() if each.name.startswith("runner")]
        publish(repository)
        await within(engine.changes.load("small"))
        assert states(engine) == {1: "UNAVAILABLE", 2: "UNAVAILABLE", 3: "READY"}
        assert gone() is not None
        del held
        assert gone() is None
        assert session() is None
        for thread in runners:
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


async def test_what_is_unloaded_answers_nobody_until_it_is_loaded_again(repository):
    async with Engine(repository, ALONE) as engine:
        await within(engine.changes.unload("small"))
        assert states(engine) == {1: "UNAVAILABLE", 2: "UNAVAILABLE"}
        assert engine.names() == ["small"]
        assert engine.ready
        for version in (None, 1, 2):
            with pytest.raises(ModelWithdrawn, match="was unloaded"):
                await engine.model("small", version)
        await within(engine.changes.load("small"))
        assert await within(ask(engine, 100)) == 102


async def test_an_unloaded_version_makes_room_for_the_one_before(repository):
    async with Engine(repository, ALONE) as engine:
        await within(engine.changes.unload("small", 2))
        assert await within(ask(engine, 100)) == 101
        with pytest.raises(ModelWithdrawn, match="Version 2"):
            await engine.model("small", 2)
        await within(engine.changes.unload("small", 1))
        with pytest.raises(ModelWithdrawn):
            await engine.model("small")
        assert engine.names() == ["small"]
        assert engine.ready
        await within(engine.changes.load("small", 2))
        assert await within(ask(engine, 100)) == 102


async def test_a_loaded_version_stays_in_memory_beside_the_one_that_serves(repository):
    async with Engine(repository, ALONE) as engine:
        await within(engine.changes.load("small", 1))
        publish(repository)
        await within(engine.changes.load("small"))
        assert states(engine) == {1: "READY", 2: "UNAVAILABLE", 3: "READY"}
        assert serves(engine) == 3
        assert engine.serving("small", 1) is not None


async def test_what_was_asked_of_one_engine_holds_for_all_and_after_a_restart(repository):
    async with Engine(repository, OPTIONS) as one, Engine(repository, OPTIONS) as other:
        await within(one.changes.make("small", lambda it: it.with_(traffic={"1": 1})))
        assert serves(one) == 1
        await until(lambda: serves(other) == 1)
        await within(other.changes.unload("small"))
        await until(lambda: serves(one) is None)
    async with Engine(repository, OPTIONS) as later:
        assert serves(later) is None
        await within(later.changes.load("small"))
        assert await within(ask(later, 100)) == 101
        publish(repository)
        assert await within(ask(later, 100)) == 101  # traffic is where it was sent


async def test_an_alias_answers_with_its_version_and_moves(repository):
    async with Engine(repository, ALONE) as engine:
        await within(engine.changes.make("small", lambda it: it.with_(aliases={"stable": 1})))
        assert await within(ask(engine, 100, version="stable")) == 101
        await within(engine.changes.make("small", lambda it: it.with_(aliases={"stable": 2})))
        assert await within(ask(engine, 100, version="stable")) == 102
        with pytest.raises(ModelNotFound, match="version canary"):
            await engine.model("small", "canary")


async def test_an_alias_is_not_moved_to_a_version_that_fails(repository):
    broken = publish_garbage(repository)
    async with Engine(repository, ALONE) as engine:
        await within(engine.changes.make("small", lambda it: it.with_(aliases={"stable": 1})))
        with pytest.raises(ModelUnavailable, match="Version 3"):
            await within(
                engine.changes.make("small", lambda it: it.with_(aliases={"stable": broken}))
            )
        assert await within(ask(engine, 100, version="stable")) == 101
        assert engine.shelf("small").serving.aliases == {"stable": 1}


async def test_traffic_is_divided_by_weight_and_keys_stay_where_they_are(repository):
    async with Engine(repository, ALONE) as engine:
        split = {"stable": 3, "2": 1}
        await within(
            engine.changes.make("small", lambda it: it.with_(aliases={"stable": 1}, traffic=split))
        )
        turns = [engine.serving("small").entry.version for _ in range(400)]
        assert 98 <= turns.count(2) <= 102
        keyed = {f"u{n}": engine.serving("small", None, f"u{n}") for n in range(2000)}
        assert 0.22 < sum(each.entry.version == 2 for each in keyed.values()) / 2000 < 0.28
        for key, model in keyed.items():
            assert engine.serving("small", None, key) is model
        assert serves(engine) == 1  # of who asks what serves, most


async def test_a_part_of_the_traffic_that_fails_goes_to_the_others(repository):
    async with Engine(repository, OPTIONS) as engine:
        broken = publish_garbage(repository)
        await until(lambda: broken in engine.failures("small"))
        state = engine.shelf("small").serving.with_(traffic={"1": 1, "3": 9})
        repository.states.replace("small", state)  # past the engine, which would refuse
        await until(lambda: serves(engine) == 1)
        assert await within(ask(engine, 100)) == 101
        (problem,) = engine.shelf("small").problems
        assert "version 3 has a share of the traffic, but" in problem


async def test_a_state_that_cannot_be_read_leaves_what_serves_and_says_why(repository):
    async with Engine(repository, OPTIONS) as engine:
        await within(engine.changes.make("small", lambda it: it.with_(traffic={"1": 1})))
        unfit = repository.root / "unfit.json"
        unfit.write_text('{"traffic": {"1": -1}}')
        unfit.replace(repository.states.path("small"))  # whole: no look sees half of it
        await until(lambda: engine.shelf("small").problems)
        assert "serving.json does not fit: traffic" in engine.shelf("small").problems[0]
        assert await within(ask(engine, 100)) == 101


async def test_what_is_in_use_is_not_unloaded(repository):
    async with Engine(repository, ALONE) as engine:
        await within(engine.changes.make("small", lambda it: it.with_(aliases={"stable": 2})))
        with pytest.raises(ServingUnfit, match="version 2 is withdrawn, and yet is 'stable'"):
            await engine.changes.unload("small", 2)
        assert await within(ask(engine, 100)) == 102


async def test_a_change_meant_for_another_state_is_refused(repository):
    async with Engine(repository, ALONE) as engine:
        tag = engine.shelf("small").serving.tag
        await within(engine.changes.unload("small", 1))
        with pytest.raises(ServingChanged):
            await engine.changes.make("small", lambda it: it.with_(offline=True), tag)
        assert await within(ask(engine, 100)) == 102


async def test_a_folder_that_cannot_be_written_keeps_what_serves(repository, tmp_path):
    (tmp_path / "file").write_text("")
    elsewhere = Repository(repository.root, tmp_path / "file")
    async with Engine(elsewhere, ALONE) as engine:
        with pytest.raises(ServingNotKept):
            await engine.changes.unload("small")
        await engine.changes.load("small")  # which changes nothing
        assert await within(ask(engine, 100)) == 102


async def test_a_model_that_is_slow_to_check_delays_no_other_and_few_are_checked_at_a_time(
    repository, monkeypatch
):
    begun, go_on, real = [], threading.Event(), loading.vet

    def vet(path, name, *others):
        if name.startswith("slow"):
            begun.append(name)
            assert go_on.wait(10)
        return real(path, name, *others)

    monkeypatch.setattr(loading, "vet", vet)
    async with Engine(repository, OPTIONS) as engine:
        try:
            publish(repository, "slow-1")
            await until(lambda: begun)
            publish(repository, "quick")
            await until(lambda: serves(engine, "quick"))
            assert not serves(engine, "slow-1")
            for number in range(2, ABREAST + 2):
                publish(repository, f"slow-{number}")
            await until(lambda: len(begun) == ABREAST)
            await asyncio.sleep(5 * OPTIONS.watch_seconds)
            assert len(begun) == ABREAST
        finally:
            go_on.set()
        await until(lambda: serves(engine, f"slow-{ABREAST + 1}"))


async def test_a_pipe_in_the_place_of_a_state_stops_neither_the_model_nor_who_watches(repository):
    os.mkfifo(repository.states.path("small"))
    async with Engine(repository, OPTIONS) as engine:
        assert engine.shelf("small").problems == [
            "serving.json cannot be read: Not a regular file."
        ]
        publish(repository)
        await until(lambda: serves(engine) == 3)


async def test_a_failure_is_forgotten_with_its_file(repository):
    async with Engine(repository, OPTIONS) as engine:
        broken = repository.find("small", publish_garbage(repository))
        await until(lambda: engine.failures("small"))
        broken.path.unlink()
        await until(lambda: not engine.failures("small"))
        assert engine.shelf("small").problems == []


async def test_files_that_vanish_do_not_end_what_serves(repository):
    async with Engine(repository, OPTIONS) as engine:
        repository.root.rename(repository.root.with_name("away"))
        publish(repository, "other")
        await until(lambda: "other" in engine.names())
        assert await within(ask(engine, 100)) == 102


async def test_what_has_vanished_may_be_unloaded_and_another_process_follows(repository):
    async with Engine(repository, ALONE) as one, Engine(repository, OPTIONS) as other:
        shutil.rmtree(repository.root / "small")
        publish(repository, "seen")  # the other looks at it after what has vanished
        await until(lambda: "seen" in other.names())
        assert await within(ask(one, 100)) == await within(ask(other, 100)) == 102
        await within(one.changes.unload("small"))
        for engine in one, other:
            await until(lambda engine=engine: not engine.newest("small"))
            with pytest.raises(ModelWithdrawn):
                await engine.model("small")
        publish(repository)
        await within(one.changes.load("small"))
        await until(lambda: other.newest("small"))
        assert await within(ask(one, 100)) == await within(ask(other, 100)) == 101


async def test_a_version_that_only_its_number_is_asked_by_is_let_go_when_it_rests(repository):
    options = EngineOptions(
        provider="cpu", threads=1, cache=VERDICTS, watch_seconds=0.02, idle_seconds=0.3
    )
    async with Engine(repository, options) as engine:
        started = time.monotonic()
        await within(ask(engine, 1, version=1))
        await until(lambda: states(engine)[1] == "UNAVAILABLE")
        assert time.monotonic() - started > 0.3
        assert await within(ask(engine, 1, version=1)) == 2


async def test_names_and_numbers_that_nobody_has_leave_nothing_in_memory(repository):
    async with Engine(repository, ALONE) as engine:
        for number in range(50):
            for name, version in (("small", 100 + number), (f"none-{number}", 1)):
                assert engine.serving(name, version) is None
                with pytest.raises(ModelNotFound):
                    await engine.model(name, version)
            with pytest.raises(ModelNotFound):
                await engine.model("small", f"alias-{number}")
        sizes = [len(each) for each in vars(engine._catalogue).values() if hasattr(each, "__len__")]
        assert max(sizes) < 5
        locks = engine._lifecycle._turns, engine._lifecycle._loads
        assert max(map(len, locks)) < 5


async def test_resolving_takes_less_than_a_microsecond(repository):
    async with Engine(repository, ALONE) as engine:
        change = {"aliases": {"stable": 1}, "traffic": {"stable": 9, "2": 1}}
        await within(engine.changes.make("small", lambda it: it.with_(**change)))
        for asked in (("small",), ("small", 1), ("small", "stable"), ("small", None, "someone")):
            best = min(_seconds(engine.serving, asked) for _ in range(20))
            assert best < 2e-6, asked  # twice what it takes where nothing else runs


def _seconds(function, arguments, times=500):
    gc.disable()
    started = time.perf_counter()
    for _ in range(times):
        function(*arguments)
    seconds = time.perf_counter() - started
    gc.enable()
    return seconds / times


async def test_the_state_is_a_file_beside_the_versions(repository):
    async with Engine(repository, ALONE) as engine:
        await within(engine.changes.unload("small"))
    assert (repository.root / "small" / FILE).is_file()
    assert [each.version for each in repository.versions("small")] == [1, 2]
