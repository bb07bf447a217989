"""A shadow follows sessions unseen: its errors and those given are held beside each other."""

import asyncio
import weakref

import pytest

from service.sessions.errors import ModelChanged
from service.sessions.observer import PairedErrors
from service.sessions.shadows import MOST_WAITING
from tests.doubles import within
from tests.engine.graphs import Graph, SumGraph, card, streaming_card
from tests.engine.test_lifecycle import until
from tests.sessions.house import SUM, WINDOW, Number, living, publish


@pytest.fixture
async def house(tmp_path):
    """Have two versions of each model; of the windows, the second says three too much."""
    repository = publish(tmp_path / "models")
    repository.publish(SUM, SumGraph(card=streaming_card(name=SUM)).write)
    wide = card(name=WINDOW, min_length=3, max_length=5)
    repository.publish(WINDOW, Graph(card=wide, bias=3.0).write)
    async with living(tmp_path) as house:
        for name in (SUM, WINDOW):
            await house.engine.changes.make(name, lambda state: state.with_(traffic={"1": 1}))
        yield house


async def shadowed(house, name, share=1.0):
    shadow = {"version": 2, "share": share}
    await within(house.engine.changes.make(name, lambda state: state.with_(shadow=shadow)))


async def steps(house, session, values, first=1):
    return [
        (await house.says(session, number, value))["said"]
        for number, value in enumerate(values, start=first)
    ]


async def test_the_errors_of_a_shadow_are_beside_those_of_the_version_that_answers(house):
    await shadowed(house, WINDOW)
    session = await house.open(WINDOW, history=(8, 9))
    said = await steps(house, session, (10, 11, 12, 13))
    assert said == [10, 11, 12, 13]  # the first version's
    await until(lambda: house.sessions.shadows.of(WINDOW))
    await until(lambda: house.sessions.shadows.of(WINDOW)[1]["load"].steps == 3)
    assert house.sessions.shadows.of(WINDOW) == {1: {"load": PairedErrors(3, 6, 3)}}


async def test_a_session_that_is_older_than_the_shadow_is_joined_where_windows_allow(house):
    window, sums = await house.open(WINDOW), await house.open(SUM)
    await steps(house, window, (8, 9, 10))
    await steps(house, sums, (1, 2))
    await shadowed(house, WINDOW)
    await shadowed(house, SUM)
    await steps(house, window, (11, 12), first=4)
    await steps(house, sums, (3, 4), first=3)
    young = await house.open(SUM)
    await steps(house, young, (1, 2, 5))
    # The step that was joined at has no forecast of the shadow before it.
    await until(lambda: house.sessions.shadows.of(WINDOW) == {1: {"load": PairedErrors(1, 2, 1)}})
    await until(lambda: house.sessions.shadows.of(SUM) == {1: {"load": PairedErrors(2, 3, 3)}})


async def test_a_shadow_that_takes_for_ever_keeps_no_step_waiting(house, monkeypatch):
    await shadowed(house, WINDOW)
    hold = asyncio.Event()
    mirror = house.engine.mirror(WINDOW)

    async def held(*_args, **_options):
        await hold.wait()

    monkeypatch.setattr("service.sessions.shadows.take", held)
    session = await house.open(WINDOW)
    values = [float(number % 7) for number in range(MOST_WAITING + 20)]
    said = await within(steps(house, session, values), 60)
    assert said[2:] == values[2:]
    assert len(house.sessions.shadows._waiting) == MOST_WAITING
    assert mirror.model.batcher.waiting == 0
    hold.set()


async def test_a_share_of_the_sessions_is_followed_and_always_the_same(house):
    await shadowed(house, WINDOW, share=0.5)
    sessions = [await house.open(WINDOW, history=(1, 2)) for _ in range(30)]
    for number in (1, 2):
        await house.take(*(Number(session, number, (3,)) for session in sessions))
    shadows = house.sessions.shadows
    await until(lambda: not shadows._waiting and shadows._task.done())
    followed = shadows._followed[WINDOW].streams
    assert 5 < len(followed) < 25
    assert all(stream.count == 4 for stream in followed.values())


async def test_a_session_whose_version_is_unloaded_is_refused_until_it_is_loaded_again(house):
    session = await house.open(WINDOW)
    await steps(house, session, (8, 9, 10))
    await within(house.engine.changes.make(WINDOW, lambda state: state.with_(traffic=None)))
    assert await steps(house, session, (11,), first=4) == [11]  # by the version it began with
    await within(house.engine.changes.unload(WINDOW, 1))
    (told,) = await house.take(Number(session, 5, (12,)))
    assert isinstance(told, ModelChanged)
    assert "was unloaded" in str(told)
    await within(house.engine.changes.load(WINDOW, 1))
    assert await steps(house, session, (12,), first=5) == [12]


async def test_a_shadow_that_has_ended_leaves_its_model_to_nobody(house):
    await shadowed(house, WINDOW)
    session, other = await house.open(WINDOW, history=(8, 9)), await house.open(SUM)
    await steps(house, session, (10, 11))
    await until(lambda: house.sessions.shadows.of(WINDOW))
    shadow = weakref.ref(house.engine.mirror(WINDOW).model)
    await within(house.engine.changes.make(WINDOW, lambda state: state.with_(shadow=None)))
    await within(house.engine.changes.unload(WINDOW, 2))
    await steps(house, other, (1,))  # of another model
    await until(lambda: shadow() is None)
