"""Which version answers, and that no file and no caller takes the engine down."""

import asyncio
import logging
import shutil

import numpy as np
import pytest

from models.contract import METADATA_KEY
from models.repository import Repository
from service.engine.core import Engine, EngineOptions
from service.engine.errors import (
    EngineStopped,
    InvalidSequence,
    ModelNotFound,
    ModelUnavailable,
    NonFinitePrediction,
    Overloaded,
)
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner, choose_device
from service.engine.scheduler import BatchPolicy
from tests.doubles import VERDICTS, RecordingObserver, row, rows, within
from tests.engine.graphs import FLOAT, Graph, card

OPTIONS = EngineOptions(provider="cpu", threads=2, cache=VERDICTS)


@pytest.fixture
def repository(tmp_path) -> Repository:
    return Repository(tmp_path / "models")


def publish(repository, name="small", **broken) -> int:
    """Publish a version that adds its own number to whatever it repeats."""
    number = len(repository.versions(name)) + 1
    graph = Graph(**{"card": card(name=name), "bias": float(number)} | broken)
    return repository.publish(name, graph.write).version


def publish_garbage(repository, name="small") -> int:
    return repository.publish(name, lambda path: path.write_bytes(b"garbage")).version


async def ask(engine, value, name="small", version=None) -> float:
    model = await engine.model(name, version)
    (answer,), _ = await engine.predict(model, [row(value)])
    return float(answer.predictions[0, 0, 0])


async def test_the_newest_version_serves(repository):
    for _ in range(11):
        publish(repository)
    async with Engine(repository, OPTIONS) as engine:
        assert engine.ready
        assert await within(ask(engine, 100)) == 111
        assert engine.newest("small").entry.version == 11
        assert engine.names() == ["small"]


async def test_an_older_version_loads_on_demand_and_stays(repository):
    for _ in range(3):
        publish(repository)
    async with Engine(repository, OPTIONS) as engine:
        assert [model.entry.version for model in engine.loaded("small")] == [3]
        assert await within(ask(engine, 100, version=1)) == 101
        assert [model.entry.version for model in engine.loaded("small")] == [1, 3]
        assert await within(ask(engine, 100)) == 103  # who names none gets the newest still
        assert await engine.model("small", 1) is await engine.model("small", 1)


async def test_many_who_demand_an_older_version_share_one(repository):
    publish(repository)
    publish(repository)
    made = []
    async with Engine(repository, OPTIONS, lambda *key: made.append(key)) as engine:
        models = await within(asyncio.gather(*(engine.model("small", 1) for _ in range(8))))
        assert len({id(model) for model in models}) == 1
    assert made == [("small", 2), ("small", 1)]


async def test_a_version_published_later_can_be_demanded(repository):
    publish(repository)
    async with Engine(repository, OPTIONS) as engine:
        publish(repository)
        publish(repository, "young")
        assert await within(ask(engine, 100, version=2)) == 102
        assert await within(ask(engine, 100, "young", 1)) == 101


async def test_each_model_answers_for_itself(repository):
    publish(repository, "load")
    publish(repository, "wind", bias=50.0)
    async with Engine(repository, OPTIONS) as engine:
        assert engine.names() == ["load", "wind"]
        assert await within(ask(engine, 1, "load")) == 2
        assert await within(ask(engine, 1, "wind")) == 51


BROKEN = {
    "leaks between neighbours": ({"leak": 0.5}, "self-check found answers in a batch"),
    "answers no numbers": ({"bias": float("nan")}, "self-check found an answer that is not finite"),
    "has another name": ({"card": card(name="other")}, "names 'other', the folder 'small'"),
    "has no card": ({"metadata": {}}, "no 'model_card' entry"),
    "has another graph": ({"outputs": ("answer",)}, "outputs are"),
    "takes flat input": (
        {"inputs": {"sequences": (FLOAT, ["batch", 1])}},
        "self-check could not run|cannot load the file",
    ),
}


@pytest.mark.parametrize(("broken", "reason"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_newest_version_leaves_the_older_serving(repository, broken, reason, caplog):
    publish(repository)
    publish(repository, **broken)
    with caplog.at_level(logging.WARNING):
        async with Engine(repository, OPTIONS) as engine:
            assert engine.ready
            assert await within(ask(engine, 100)) == 101
            assert list(engine.failures("small")) == [2]
            with pytest.raises(ModelUnavailable, match=reason) as caught:
                await engine.model("small", 2)
            assert caught.value.reason == engine.failures("small")[2]
    assert "Version 2 of 'small' could not be loaded" in caplog.text


async def test_a_version_that_failed_is_not_tried_again(repository):
    publish(repository)
    broken = repository.find("small", publish_garbage(repository))
    async with Engine(repository, OPTIONS) as engine:
        broken.path.unlink()
        Graph().write(broken.path)
        with pytest.raises(ModelUnavailable, match="no ONNX model"):
            await engine.model("small", 2)


async def test_a_model_of_which_nothing_loads_is_unavailable_and_not_unknown(repository):
    publish_garbage(repository)
    publish(repository, card=card(name="other"))
    async with Engine(repository, OPTIONS) as engine:
        assert not engine.ready
        assert engine.names() == ["small"]
        assert engine.newest("small") is None
        assert sorted(engine.failures("small")) == [1, 2]
        with pytest.raises(ModelUnavailable, match=r"Version 2 .* The card names 'other'"):
            await engine.model("small")


async def test_a_broken_model_does_not_stop_the_others(repository):
    publish(repository, "wind")
    publish_garbage(repository, "load")
    async with Engine(repository, OPTIONS) as engine:
        assert engine.ready
        assert engine.names() == ["load", "wind"]
        assert await within(ask(engine, 1, "wind")) == 2


STRANGE = {
    "an input without axes": {"inputs": {"sequences": (FLOAT, [])}},
    "a number of five thousand digits": {
        "metadata": {METADATA_KEY: '{"horizon": ' + "9" * 5000 + "}"}
    },
    "brackets without end": {"metadata": {METADATA_KEY: "[" * 100_000}},
}


@pytest.mark.parametrize("broken", STRANGE.values(), ids=STRANGE)
async def test_a_strange_file_does_not_stop_the_others(repository, broken):
    publish(repository, "wind")
    publish(repository, **broken)
    async with Engine(repository, OPTIONS) as engine:
        assert await within(ask(engine, 1, "wind")) == 2
        assert list(engine.failures("small")) == [1]


async def test_what_is_unknown_is_named(repository):
    publish(repository)
    async with Engine(repository, OPTIONS) as engine:
        with pytest.raises(ModelNotFound, match="There is no model 'large'"):
            await engine.model("large")
        with pytest.raises(ModelNotFound, match="There is no model 'large' in version 1"):
            await engine.model("large", 1)
        for version in (0, 2, -1):
            with pytest.raises(ModelNotFound, match=f"'small' in version {version}"):
                await engine.model("small", version)
        for hostile in ("../small", "", "small/1", "x" * 300, "a\0b"):
            with pytest.raises(ModelNotFound):
                await engine.model(hostile, 1)
        assert engine.names() == ["small"]
        assert await within(ask(engine, 1)) == 2


async def test_an_engine_without_models_is_not_ready(repository):
    async with Engine(repository, OPTIONS) as engine:
        assert not engine.ready
        assert engine.names() == []
        with pytest.raises(ModelNotFound):
            await engine.model("small")


async def test_an_engine_serves_only_while_it_is_entered(repository):
    publish(repository)
    engine = Engine(repository, OPTIONS)
    with pytest.raises(EngineStopped):
        await engine.model("small")
    assert not engine.ready
    async with engine:
        model = await engine.model("small")
    assert not engine.ready
    with pytest.raises(EngineStopped):
        await engine.model("small")
    with pytest.raises(EngineStopped):
        await engine.predict(model, rows(1))


async def test_leaving_finishes_what_was_accepted(repository):
    publish(repository)
    async with Engine(repository, OPTIONS) as engine:
        model = await engine.model("small")
        accepted = [asyncio.create_task(engine.predict(model, rows(n, n))) for n in range(20)]
        await asyncio.sleep(0)
    for number, (answers, _) in enumerate(await within(asyncio.gather(*accepted))):
        assert [answer.predictions[0, 0, 0] for answer in answers] == [number + 1] * 2


async def test_rows_that_do_not_fit_never_reach_the_queue(repository):
    publish(repository)
    observer = RecordingObserver()
    async with Engine(repository, OPTIONS, lambda *_: observer) as engine:
        model = await engine.model("small")
        with pytest.raises(InvalidSequence, match="1 to 24 steps, got 0"):
            await engine.predict(model, [row(1), Row(np.zeros((0, 1), np.float32))])
        with pytest.raises(InvalidSequence):
            await engine.predict(model, [row(np.nan)])
        assert observer.waiting == observer.reports == []


async def test_a_request_that_finds_the_room_full_is_refused(repository):
    publish(repository)
    options = EngineOptions(provider="cpu", threads=1, policy=BatchPolicy(max_waiting=2))
    async with Engine(repository, options) as engine:
        model = await engine.model("small")
        with pytest.raises(Overloaded):
            await engine.predict(model, rows(1, 2, 3))
        assert await within(ask(engine, 1)) == 2


async def test_an_answer_that_is_no_number_is_an_error_of_its_own_request(repository):
    publish(repository, bias=3e38)
    async with Engine(repository, OPTIONS) as engine:
        model = await engine.model("small")
        bad, good = await within(
            asyncio.gather(
                engine.predict(model, rows(1, 3e38)),
                engine.predict(model, rows(1, 2)),
                return_exceptions=True,
            )
        )
    assert isinstance(bad, NonFinitePrediction)
    assert bad.index == 1
    assert len(good[0]) == 2


async def test_an_observer_hears_of_the_version_it_was_made_for(repository):
    publish(repository, "load")
    publish(repository, "wind")
    heard = {}
    async with Engine(
        repository, OPTIONS, lambda *key: heard.setdefault(key, RecordingObserver())
    ) as engine:
        await within(ask(engine, 1, "wind"))
    assert {key: len(observer.reports) for key, observer in heard.items()} == {
        ("load", 1): 0,
        ("wind", 1): 1,
    }


async def test_a_loaded_model_says_what_was_found(repository):
    publish(repository)
    async with Engine(repository, OPTIONS) as engine:
        model = await engine.model("small")
        assert engine.device == Device("cpu", "asked for")
        assert model.provider == "cpu"
        assert model.check.bit_for_bit
        assert model.card.name == "small"
        assert model.load_seconds > 0
        assert model.entry == repository.find("small")


async def test_cuda_that_is_there_and_does_not_work_is_owned_up_to(repository, monkeypatch):
    if choose_device("auto").provider == "cuda":
        pytest.skip("CUDA works here")
    monkeypatch.setattr("service.engine.runner._cuda_obstacle", lambda: None)
    publish(repository)
    async with Engine(repository) as engine:
        assert engine.device == Device("cpu", "CUDA is present, but ONNX Runtime cannot use it")
        assert await within(ask(engine, 1)) == 2


def test_the_processors_allowed_are_shared_among_workers_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr("service.engine.options.available_cpus", lambda: 8)
    assert (EngineOptions().slots.share, EngineOptions().slots.spare) == (8, 0)
    three = EngineOptions(workers=3).slots
    assert (three.share, three.spare) == (2, 6)
    many = EngineOptions(workers=20).slots
    assert (many.share, many.spare) == (1, 7)
    told = EngineOptions(threads=2, workers=3).slots
    assert (told.share, told.spare) == (2, 0)


@pytest.mark.parametrize("kind", ["gru", "lstm", "attention"])
async def test_a_real_network_answers_a_crowd_as_it_answers_one(repository, zoo, kind):
    repository.publish(kind, lambda path: shutil.copyfile(zoo[kind], path))
    alone, random = OnnxRunner(zoo[kind], Device("cpu", "")), np.random.default_rng(1)
    asked = [
        Row(
            random.normal(50, 9, (length, 3)).astype(np.float32),
            random.normal(0, 1, (3, 1)).astype(np.float32),
            explain=kind == "attention" and length % 2 == 0,
        )
        for length in random.integers(1, 25, 60)
    ]
    async with Engine(repository, OPTIONS) as engine:
        model = await engine.model(kind)
        requests = [engine.predict(model, asked[start : start + 3]) for start in range(0, 60, 3)]
        answers = [
            answer
            for (together, _) in await within(asyncio.gather(*requests))
            for answer in together
        ]
    for each, answer in zip(asked, answers, strict=True):
        (expected,) = alone.run([each])
        difference = np.abs(answer.predictions - expected.predictions).max()
        bound = 0 if model.card.exact else 1e-6 * np.abs(expected.predictions).max()
        assert difference <= bound
        assert (answer.attention is not None) == each.explain
        if each.explain:
            np.testing.assert_allclose(answer.attention, expected.attention, atol=1e-6)
