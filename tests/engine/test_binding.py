"""Runs by IO binding answer as plain runs do; on the CPU provider, for want of another here."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract import FUTURE, LENGTHS, SEQUENCES
from service.engine.binding import HostTensor, Inputs
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner
from service.engine.selfcheck import check
from service.engine.state import StateLayout
from tests.engine.graphs import Graph, card

CPU = Device("cpu", "asked for")
KINDS = ("gru", "lstm", "attention")


@pytest.fixture(scope="module")
def plain(zoo):
    return {kind: OnnxRunner(path, CPU) for kind, path in zoo.items()}


@pytest.fixture(scope="module")
def bound(zoo):
    return {kind: OnnxRunner(path, CPU, bound=True) for kind, path in zoo.items()}


def draw(length, seed, *, explain=False) -> Row:
    random = np.random.default_rng(seed)
    values = random.normal(50, 10, (length, 3)).astype(np.float32)
    return Row(values, random.normal(0, 1, (3, 1)).astype(np.float32), explain)


rows = st.builds(
    draw, st.integers(1, 24), st.integers(0, 2**32 - 1), explain=st.sampled_from([False, True])
)


def assert_same(some, others, *, exact):
    for one, other in zip(some, others, strict=True):
        assert (one.attention is None) == (other.attention is None)
        pairs = [(one.predictions, other.predictions), (one.mean, other.mean)]
        if one.attention is not None:
            pairs.append((one.attention, other.attention))
        for found, expected in pairs:
            if exact:
                assert found.tobytes() == expected.tobytes()
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("kind", KINDS)
def test_a_bound_run_answers_as_a_plain_one(plain, bound, kind):
    assert plain[kind].card.known

    @settings(deadline=None)
    @given(st.lists(rows, min_size=1, max_size=20))
    def property_holds(batch):
        exact = kind != "attention"
        assert_same(bound[kind].run(batch), plain[kind].run(batch), exact=exact)

    property_holds()


@pytest.mark.parametrize("kind", KINDS)
def test_threads_that_run_at_once_do_not_write_into_each_others_buffers(plain, bound, kind):
    together = threading.Barrier(4, timeout=20)
    batches = [[draw(9, 100 * worker + row) for row in range(6)] for worker in range(4)]
    expected = [plain[kind].run(batch) for batch in batches]

    def work(worker):
        together.wait()
        for _ in range(50):
            answers = bound[kind].run(batches[worker])
            assert_same(answers, expected[worker], exact=kind != "attention")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))


def test_answers_stay_when_their_buffers_are_used_again(bound):
    first = bound["gru"].run([draw(9, 1), draw(8, 2)])
    before = [answer.predictions.copy() for answer in first]
    for seed in range(20):
        bound["gru"].run([draw(9, 3 + seed), draw(8, 4 + seed)])
    assert all(np.array_equal(a.predictions, b) for a, b in zip(first, before, strict=True))


def test_nothing_of_an_earlier_batch_remains_in_a_buffer(tmp_path):
    Graph(leak=1.0).write(tmp_path / "1.onnx")  # adds the largest of all rows
    runner = OnnxRunner(tmp_path / "1.onnx", CPU, bound=True)
    runner.run([Row(np.full((10, 1), 1000, np.float32))] * 10)
    answers = runner.run([Row(np.ones((9, 1), np.float32))] * 9)
    assert runner._bound.pool.kept == 10 * (10 * 4 + 8)  # one bucket, used twice
    assert [float(answer.predictions.max()) for answer in answers] == [2.0] * 9


def test_rows_that_fill_a_bucket_have_a_future_of_zeros():
    shapes = {SEQUENCES: (4, 9, 3), LENGTHS: (4,), FUTURE: (4, 3, 1)}
    tensors = {name: HostTensor(np.full(shape, 7.0), None) for name, shape in shapes.items()}
    asked = [draw(9, 1), draw(5, 2)]
    Inputs(tensors, {}, StateLayout({})).write(asked)
    future = tensors[FUTURE].array
    assert np.array_equal(future[:2], [row.future for row in asked])
    assert not future[2:].any()
    assert tensors[LENGTHS].array.tolist() == [9, 5, 1, 1]


def test_batches_of_one_bucket_use_one_buffer_and_memory_is_bounded(zoo, monkeypatch):
    runner = OnnxRunner(zoo["lstm"], CPU, bound=True)
    for size, length in ((10, 24), (9, 23), (10, 21)):
        runner.run([draw(length, 0)] * size)
    one = runner._bound.pool.kept
    assert one == 10 * (24 * 3 * 4 + 8 + 3 * 1 * 4)
    monkeypatch.setattr(runner._bound.pool, "_capacity", 2 * one)
    for size in range(1, 30):
        runner.run([draw(24, 0)] * size)
        assert runner._bound.pool.kept <= 2 * one


def test_no_bucket_is_longer_than_the_model_allows(tmp_path):
    Graph(card=card(max_length=17)).write(tmp_path / "1.onnx")
    runner = OnnxRunner(tmp_path / "1.onnx", CPU, bound=True)
    runner.run([Row(np.ones((17, 1), np.float32))])
    assert runner._bound.pool.kept == 17 * 4 + 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_bound_network_passes_its_self_check(bound, kind):
    found = check(bound[kind], bound[kind].card, "cpu")
    assert found.bit_for_bit or kind == "attention"


def test_attention_is_computed_only_when_somebody_asks(bound, monkeypatch):
    runner = bound["attention"]
    asked, run = [], runner._bound.run
    monkeypatch.setattr(
        runner._bound, "run", lambda fetches, *rest: asked.append(fetches) or run(fetches, *rest)
    )
    runner.run([draw(9, 1), draw(5, 2)])
    told, untold = runner.run([draw(9, 1, explain=True), draw(5, 2)])
    assert [len(fetches) for fetches in asked] == [1, 2]
    assert told.attention.shape == (9,)
    assert untold.attention is None


def test_on_the_cpu_nothing_is_bound_unless_asked(plain):
    assert all(runner._bound is None for runner in plain.values())
