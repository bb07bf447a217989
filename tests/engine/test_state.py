"""What a row carries into a model's graph and out of it, whatever its neighbours carry."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract import PREDICTIONS
from models.repository import Repository
from service.engine.admission import check_rows
from service.engine.core import Engine, EngineOptions
from service.engine.errors import InvalidSequence, ModelRejected
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner
from tests.doubles import VERDICTS, within
from tests.engine.graphs import SumGraph, card, streaming_card

CPU = Device("cpu", "asked for")
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "bound"])
def runner(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("sum") / "1.onnx"
    SumGraph().write(path)
    return OnnxRunner(path, CPU, bound=request.param)


def column(*values) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def state(value) -> np.ndarray:
    return np.array([value], np.float32)


def test_a_state_goes_in_and_the_next_one_comes_out_only_where_asked(runner):
    begun, told, plain = runner.run(
        [
            Row(column(1, 2), state=state(10), carry=True),
            Row(column(5), state=state(7)),
            Row(column(3, 4, 5)),
        ]
    )
    assert begun.predictions.ravel()[0] == 13
    assert begun.state.tolist() == [13]
    assert told.predictions.ravel()[0] == 12
    assert told.state is None
    assert plain.predictions.ravel()[0] == 12
    assert plain.state is None


def test_no_state_is_computed_when_nobody_carries(runner, monkeypatch):
    asked = []
    target = runner._bound or runner
    name = "run" if runner._bound else "_run_plain"
    real = getattr(target, name)

    def spy(fetches, *rest):
        asked.append(fetches)
        return real(fetches, *rest)

    monkeypatch.setattr(target, name, spy)
    runner.run([Row(column(1))])
    assert asked == [[PREDICTIONS]]


chunk = st.lists(st.integers(-50, 50), min_size=1, max_size=7)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(chunk, min_size=1, max_size=5), min_size=1, max_size=6))
def test_any_cut_of_streams_that_share_batches_gives_the_sums_of_each(runner, streams):
    states = [None] * len(streams)
    for turn in range(max(map(len, streams))):
        going = [i for i, chunks in enumerate(streams) if turn < len(chunks)]
        rows = [Row(column(*streams[i][turn]), state=states[i], carry=True) for i in going]
        for i, answer in zip(going, runner.run(rows), strict=True):
            states[i] = answer.state
    sums = [float(sum(map(sum, chunks))) for chunks in streams]
    assert [one.tolist() for one in states] == [[one] for one in sums]


def test_a_carried_state_is_its_rows_own(runner):
    first, second = runner.run([Row(column(1), carry=True), Row(column(2), carry=True)])
    first.state[:] = 99
    assert second.state.tolist() == [2]
    runner.run([Row(column(5), carry=True), Row(column(6), carry=True)])
    assert second.state.tolist() == [2]


def test_a_state_that_is_not_finite_makes_the_answer_not_finite(runner):
    (answer,) = runner.run([Row(column(3e38), state=state(3e38), carry=True)])
    assert not answer.finite


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (SumGraph(outputs=(PREDICTIONS,)), "outputs"),
        (SumGraph(width=2), r"state\.sum"),
        (SumGraph(card=card(missing_values=True)), "inputs"),
    ],
    ids=["no next state", "another width", "no state in the card"],
)
def test_a_file_whose_state_is_not_what_its_card_says_is_refused(tmp_path, graph, problem):
    path = tmp_path / "1.onnx"
    graph.write(path)
    with pytest.raises(ModelRejected, match=problem):
        OnnxRunner(path, CPU)


@pytest.mark.parametrize(
    ("row", "place"),
    [
        (Row(column(*range(25)), carry=True), "sequences[0].values"),
        (Row(np.empty((0, 1), np.float32), carry=True), "sequences[0].values"),
        (Row(column(1), state=np.zeros(2, np.float32)), "sequences[0].state"),
        (Row(column(1), state=np.zeros((1, 1), np.float32)), "sequences[0].state"),
        (Row(column(np.inf), state=state(1)), "sequences[0].values[0]"),
    ],
)
def test_a_part_of_a_stream_that_does_not_fit_is_refused_with_its_place(row, place):
    with pytest.raises(InvalidSequence) as refused:
        check_rows([row], streaming_card())
    assert refused.value.place == place


def test_a_part_of_a_stream_may_be_shorter_than_a_whole_sequence_and_all_missing():
    chosen = streaming_card(min_length=5)
    check_rows([Row(column(np.nan), state=state(1)), Row(column(1), carry=True)], chosen)
    with pytest.raises(InvalidSequence):
        check_rows([Row(column(1))], chosen)


async def test_streams_and_whole_sequences_share_the_batches_of_a_model(tmp_path):
    repository = Repository(tmp_path)
    repository.publish("small", SumGraph().write)
    async with Engine(
        repository, EngineOptions(provider="cpu", threads=2, cache=VERDICTS)
    ) as engine:
        model = await engine.model("small", None)
        asked = [Row(column(1), state=state(i), carry=True) for i in range(50)]
        both = await within(
            asyncio.gather(
                engine.predict(model, asked), engine.predict(model, [Row(column(1, 2))] * 50)
            )
        )
    (streams, _), (whole, _) = both
    assert [float(one.state[0]) for one in streams] == [i + 1 for i in range(50)]
    assert {float(one.predictions[0, 0, 0]) for one in whole} == {3.0}
