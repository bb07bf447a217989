"""
A session's state is the fold of its acknowledged steps: services are killed to see that it is.

The short form of ``python -m benchmarks.crashes``: every point once.
"""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import orjson
import pytest

from benchmarks.crashing.drill import Drill, Plan
from benchmarks.crashing.processes import PLACES
from benchmarks.crashing.references import Torch, Window
from benchmarks.crashing.streams import Fault, Stream

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def folder():
    # Not pytest's folder: the path of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="crashes-") as text:
        yield Path(text)


@pytest.fixture(scope="module")
def references(folder):
    return [Torch(folder), Window(folder)]


async def test_killed_at_every_point_it_loses_doubles_and_mistakes_no_step(folder, references):
    plan = Plan(kills=len(PLACES), steps=500)
    report = await Drill(plan, folder, references).run()
    assert report.faults == []
    assert report.kills == Counter(PLACES)
    assert report.unreached.total() == 0
    assert sum(each.answers for each in report.verdicts.values()) == report.tally.steps >= 500
    assert report.replays > 0
    assert report.tally.again > 0


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
async def test_nor_do_two_on_one_redis_that_are_killed_and_restarted_in_turn(folder, references):
    plan = Plan(kills=4, steps=500, services=2, seed=1, pace=0.2, rolling=4, redis=3)
    report = await Drill(plan, folder, references).run()
    assert report.faults == []
    assert (report.kills.total(), report.redis_kills, report.rolled) == (4, 1, 2)
    assert sum(each.answers for each in report.verdicts.values()) == report.tally.steps >= 500


def answer(**changes) -> bytes:
    fields = {"session": "a", "step": 1, "count": 2, "prediction": None}
    return orjson.dumps(fields | changes)


def stream() -> Stream:
    return Stream("a", "small", lambda: [340.0, 341.0])


@pytest.mark.parametrize("changes", [{"session": "b"}, {"step": 2}, {"count": 4}, {"count": 1}])
def test_an_answer_to_anything_but_the_step_that_was_sent_is_a_fault(changes):
    with pytest.raises(Fault, match="step 1 with 2 inputs was answered"):
        stream().acknowledge(answer(**changes), replayed=False)


def test_a_session_that_stands_anywhere_else_is_a_fault():
    one = stream()
    one.acknowledge(answer(), replayed=False)
    one.stands(1, 2)
    for step, count in ((0, 0), (2, 4), (1, 4)):
        with pytest.raises(Fault, match="acknowledged were 1, 2"):
            one.stands(step, count)


def test_a_step_sent_again_must_be_answered_by_the_bytes_that_are_stored():
    one = stream()
    one.acknowledge(answer(), replayed=True)
    one.repeat(answer(), replayed=True)
    assert one.replays == 1
    for body, replayed in ((answer() + b" ", True), (answer(), False)):
        with pytest.raises(Fault, match="step 1 again"):
            one.repeat(body, replayed=replayed)
