"""A shadow is asked unseen: it changes no answer, delays none, and what it differs by is known."""

import asyncio
import threading

import numpy as np
import pytest

from models.repository import Repository
from service.engine.core import Engine, EngineOptions
from service.engine.shadow import MOST_WAITING
from tests.doubles import row, rows, within
from tests.engine.graphs import card
from tests.engine.test_core import ask, publish
from tests.engine.test_lifecycle import until

OPTIONS = EngineOptions(provider="cpu", threads=1, watch_seconds=0)


class Heard:
    """Remembers what became of each request."""

    def __init__(self):
        self.outcomes = []
        self.found = []

    def on_shadow(self, shadow, outcome, found):
        self.outcomes.append((shadow.entry.version, outcome))
        self.found.append(found)


@pytest.fixture
def repository(tmp_path) -> Repository:
    found = Repository(tmp_path / "models")
    publish(found)
    publish(found, bias=1.5)  # half a unit more than the first
    return found


async def shadowed(engine, share=1.0, version=2):
    shadow = {"version": version, "share": share}
    change = {"traffic": {"1": 1}, "shadow": shadow}
    await within(engine.changes.make("small", lambda state: state.with_(**change)))
    return engine.mirror("small")


class Gate:
    """Holds whoever runs a model, until it is opened."""

    def __init__(self, model):
        self.open = threading.Event()
        self.threads = []
        self._run = model.batcher._runner.run
        model.batcher._runner.run = self.run

    def run(self, asked):
        self.threads.append(threading.current_thread())
        assert self.open.wait(10)
        return self._run(asked)


async def test_the_difference_is_measured_and_no_answer_changes(repository):
    heard = Heard()
    async with Engine(repository, OPTIONS, shadows=heard) as engine:
        mirror = await shadowed(engine)
        assert await within(ask(engine, 100)) == 101
        await until(lambda: mirror.outcomes["compared"] == 1)
        model = await engine.model("small")
        told = asyncio.get_running_loop().create_future()
        ticket = engine.submit(  # as the short way does
            model, rows(1, 2), lambda _: told.set_result(mirror.outcomes["compared"])
        )
        assert await within(told) == 1  # before the shadow was asked
        assert [float(each.predictions[0, 0, 0]) for each in ticket.result()] == [2, 3]
        model.batcher.release(ticket)
        await until(lambda: mirror.outcomes["compared"] == 2)
        (found,) = mirror.differences.values()
        assert found["load"].count == 6  # three sequences, two steps ahead
        assert found["load"].mean == found["load"].largest == 0.5
    assert heard.outcomes == [(2, "compared")] * 2
    assert [each["load"].count for each in heard.found] == [2, 4]


async def test_a_shadow_that_takes_for_ever_delays_nobody_and_drops_the_rest(repository):
    async with Engine(repository, OPTIONS) as engine:
        mirror = await shadowed(engine)
        gate = Gate(mirror.model)
        for value in range(MOST_WAITING + 10):
            assert await within(ask(engine, value), 2) == value + 1
        await until(lambda: gate.threads)
        assert mirror.outcomes == {"compared": 0, "dropped": 9, "failed": 0}
        gate.open.set()
        await until(lambda: mirror.outcomes["compared"] == MOST_WAITING + 1)
    assert threading.main_thread() not in gate.threads


async def test_a_shadow_is_not_asked_while_others_wait_for_an_answer(repository):
    async with Engine(repository, OPTIONS) as engine:
        mirror = await shadowed(engine)
        model = await engine.model("small")
        await within(ask(engine, 1))
        await until(lambda: mirror.outcomes["compared"] == 1)
        shadow, primary = Gate(mirror.model), Gate(model)
        primary.open.set()
        await within(ask(engine, 1))
        await until(lambda: shadow.threads)  # the first one is being asked
        await within(ask(engine, 2))  # the second one waits for it
        primary.open.clear()
        model.batcher.slots = type(model.batcher.slots)(1, 0, 0)  # in threads from now on
        crowd = [asyncio.create_task(ask(engine, value)) for value in range(3)]
        await until(lambda: len(primary.threads) == 3)
        late = asyncio.create_task(ask(engine, 9))
        await until(lambda: model.batcher.waiting)
        shadow.open.set()
        await until(lambda: mirror.outcomes["dropped"] == 1)
        primary.open.set()
        await within(asyncio.gather(*crowd, late))


async def test_a_share_of_the_requests_is_asked(repository):
    async with Engine(repository, OPTIONS) as engine:
        mirror = await shadowed(engine, share=0.25)
        for value in range(40):
            await within(ask(engine, value))
        await until(lambda: sum(mirror.outcomes.values()) == 10)
        assert mirror.outcomes["failed"] == 0


async def test_a_shadow_that_fails_is_counted_and_harms_nobody(repository):
    async with Engine(repository, OPTIONS) as engine:
        mirror = await shadowed(engine)

        def fail(_asked):
            raise RuntimeError("a defect of the new version")

        mirror.model.batcher._runner.run = fail
        assert await within(ask(engine, 100)) == 101
        await until(lambda: mirror.outcomes["failed"] == 1)
        assert await within(ask(engine, 100)) == 101


async def test_a_version_that_answers_something_else_is_no_shadow(repository):
    publish(repository, card=card(horizon=3))
    async with Engine(repository, OPTIONS) as engine:
        assert await shadowed(engine, version=3) is None
        (problem,) = engine.shelf("small").problems
        assert problem == "version 3 is the shadow, but its card differs: horizon"
        assert await within(ask(engine, 100)) == 101


async def test_what_the_shadow_cannot_read_is_counted_as_failed(repository):
    publish(repository, card=card(max_length=4))
    async with Engine(repository, OPTIONS) as engine:
        mirror = await shadowed(engine, version=3)
        model = await engine.model("small")
        await within(engine.predict(model, [row(1, length=5)]))
        await until(lambda: mirror.outcomes["failed"] == 1)


async def test_a_backtest_is_not_shadowed(repository):
    async with Engine(repository, OPTIONS) as engine:
        mirror = await shadowed(engine)
        model = await engine.model("small")
        await within(engine.predict(model, rows(1), background=True))
        await within(ask(engine, 1))
        await until(lambda: sum(mirror.outcomes.values()) == 1)


async def test_what_the_shadow_found_is_kept_while_it_is_the_shadow(repository):
    async with Engine(repository, OPTIONS) as engine:
        mirror = await shadowed(engine)
        await within(ask(engine, 1))
        await until(lambda: mirror.outcomes["compared"] == 1)
        await within(engine.changes.make("small", lambda state: state.with_alias("stable", 1)))
        assert engine.mirror("small") is mirror
        await within(engine.changes.make("small", lambda state: state.with_(shadow=None)))
        assert engine.mirror("small") is None


async def test_nothing_of_a_large_request_stays_in_memory_with_the_shadow(repository):
    async with Engine(repository, OPTIONS) as engine:
        mirror = await shadowed(engine)
        gate = Gate(mirror.model)
        model = await engine.model("small")
        whole = np.ones((500, 20, 1), np.float32)
        asked = [row(1)]
        await within(engine.predict(model, asked))
        await until(lambda: gate.threads)
        asked = [type(asked[0])(sequence) for sequence in whole]
        await within(engine.predict(model, asked))
        await until(lambda: mirror._waiting)
        assert all(each.sequence.base is None for each in mirror._waiting[0].rows)
        assert len(mirror._waiting[0].rows) == 16
        gate.open.set()
