"""What ONNX Runtime is trusted with, and which files it never gets to serve."""

import ctypes
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract import ATTENTION, FUTURE, LENGTHS, METADATA_KEY, PREDICTIONS, SEQUENCES
from service.engine import runner as module
from service.engine.errors import ModelRejected
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner, choose_device
from service.engine.selfcheck import check
from tests.engine.graphs import FLOAT, Graph, card

ROOT = Path(__file__).parents[2]
CPU = Device("cpu", "asked for")
DOUBLE, INT32 = 11, 6


@pytest.fixture(scope="module")
def runners(zoo):
    return {kind: OnnxRunner(path, CPU) for kind, path in zoo.items()}


def opened(tmp_path, graph: Graph) -> OnnxRunner:
    path = tmp_path / "1.onnx"
    graph.write(path)
    return OnnxRunner(path, CPU)


def draw(length, exponent, seed, *, gaps=0.0, explain=False) -> Row:
    """Draw a row for the networks of the zoo: three features, one of them known ahead."""
    random = np.random.default_rng(seed)
    values = random.normal(50, 10.0**exponent, (length, 3)).astype(np.float32)
    values[random.random(values.shape) < gaps] = np.nan
    future = random.normal(0, 1, (3, 1)).astype(np.float32)
    return Row(values, future, explain)


rows = st.builds(
    draw,
    st.integers(1, 24),
    st.floats(-3, 4),
    st.integers(0, 2**32 - 1),
    gaps=st.sampled_from([0.0, 0.1, 0.7, 1.0]),
)
whole_rows = st.builds(draw, st.integers(1, 24), st.floats(-3, 4), st.integers(0, 2**32 - 1))


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_recurrent_answer_is_the_same_in_any_company_bit_for_bit(runners, kind):
    runner = runners[kind]
    assert runner.card.exact

    @settings(deadline=None)
    @given(st.lists(rows if runner.card.missing_values else whole_rows, min_size=2, max_size=20))
    def property_holds(batch):
        for row, together in zip(batch, runner.run(batch), strict=True):
            (alone,) = runner.run([row])
            assert np.isfinite(alone.predictions).all()
            assert together.predictions.tobytes() == alone.predictions.tobytes()

    property_holds()


def test_an_attention_answer_is_the_same_in_any_company_within_a_millionth(runners):
    runner = runners["attention"]
    assert not runner.card.exact

    @settings(deadline=None)
    @given(st.lists(rows, min_size=2, max_size=20))
    def property_holds(batch):
        for row, together in zip(batch, runner.run(batch), strict=True):
            (alone,) = runner.run([row])
            difference = np.abs(together.predictions - alone.predictions).max()
            assert difference <= 1e-6 * np.abs(alone.predictions).max()

    property_holds()


@pytest.mark.parametrize("kind", ["gru", "lstm", "attention"])
def test_a_real_network_passes_its_self_check(runners, kind):
    found = check(runners[kind], runners[kind].card, "cpu")
    assert found.bit_for_bit or kind == "attention"
    assert found.largest_difference <= found.tolerance


def test_answers_have_the_shape_of_the_card_and_come_in_order(runners):
    for runner in runners.values():
        batch = [draw(length, 0, length) for length in (5, 24, 1)]
        answers = runner.run(batch)
        assert [each.predictions.shape for each in answers] == [runner.card.answer_shape] * 3
        assert {each.predictions.dtype for each in answers} == {np.dtype(np.float32)}


def test_a_runner_may_be_called_from_several_threads_at_once(runners):
    together = threading.Barrier(4, timeout=20)
    runner, batch = runners["gru"], [draw(length, 0, length) for length in (3, 9, 24)]
    expected = [answer.predictions.tobytes() for answer in runner.run(batch)]

    def work(_):
        together.wait()
        return [[each.predictions.tobytes() for each in runner.run(batch)] for _ in range(20)]

    with ThreadPoolExecutor(4) as threads:
        for results in threads.map(work, range(4)):
            assert results == [expected] * 20


def test_attention_is_told_to_those_who_asked_and_cut_to_their_length(runners):
    batch = [draw(9, 0, 1, explain=True), draw(24, 0, 2), draw(1, 0, 3, explain=True)]
    told, untold, single = runners["attention"].run(batch)
    assert told.attention.shape == (9,)
    assert told.attention.sum() == pytest.approx(1, abs=1e-5)
    assert (told.attention > 0).all()
    assert untold.attention is None
    assert single.attention.tolist() == [1.0]


def test_asking_why_changes_no_prediction(runners):
    plain = [draw(length, 0, length) for length in (9, 24, 1)]
    curious = [Row(row.sequence, row.future, explain=True) for row in plain]
    for one, other in zip(
        runners["attention"].run(plain), runners["attention"].run(curious), strict=True
    ):
        assert np.array_equal(one.predictions, other.predictions)


def test_nobody_is_told_what_the_model_does_not_know(runners):
    (answer,) = runners["gru"].run([draw(9, 0, 1, explain=True)])
    assert answer.attention is None


class Listening:
    """Stands in for a session, and remembers what was fetched from it."""

    def __init__(self, session):
        self._session = session
        self.fetched = []

    def run(self, fetches, *rest):
        self.fetched.append(fetches)
        return self._session.run(fetches, *rest)


def test_attention_is_computed_only_when_somebody_asks(runners, monkeypatch):
    runner = runners["attention"]
    listening = Listening(runner._session)
    monkeypatch.setattr(runner, "_session", listening)
    runner.run([draw(9, 0, 1), draw(5, 0, 2)])
    runner.run([draw(9, 0, 1), draw(5, 0, 2, explain=True)])
    assert listening.fetched == [[PREDICTIONS], [PREDICTIONS, ATTENTION]]


def test_a_sound_graph_made_by_hand_serves(tmp_path):
    runner = opened(tmp_path, Graph(bias=0.5))
    values = [np.array([[1], [2], [3]], np.float32), np.array([[7]], np.float32)]
    first, second = runner.run([Row(each) for each in values])
    assert np.array_equal(first.predictions, np.full((2, 1, 3), 3.5))
    assert np.array_equal(second.predictions, np.full((2, 1, 3), 7.5))
    assert runner.provider == "cpu"
    assert runner.card == card()


TWO = card(features=("load", "hour"), known=("hour",))
WRONG = {
    "no lengths": (Graph(inputs={LENGTHS: None}), "inputs are .'sequences'., not"),
    "no sequences": (Graph(inputs={SEQUENCES: None}), "inputs are .'lengths'., not"),
    "an input too many": (Graph(inputs={"surprise": (FLOAT, ["n"])}), "'surprise'"),
    "a future the card does not know": (Graph(inputs={FUTURE: (FLOAT, [1, 2, 1])}), "'future'"),
    "no future": (Graph(card=TWO, inputs={FUTURE: None}), "not .'future', 'lengths', 'sequences'"),
    "a feature too many": (
        Graph(inputs={SEQUENCES: (FLOAT, ["batch", "time", 2])}),
        "input 'sequences' does not fit the card",
    ),
    "any number of features": (
        Graph(inputs={SEQUENCES: (FLOAT, ["batch", "time", "features"])}),
        "input 'sequences' does not fit the card",
    ),
    "double sequences": (
        Graph(inputs={SEQUENCES: (DOUBLE, ["batch", "time", 1])}),
        "input 'sequences' does not fit the card",
    ),
    "short lengths": (
        Graph(inputs={LENGTHS: (INT32, ["batch"])}),
        "input 'lengths' does not fit the card",
    ),
    "a covariate too many": (
        Graph(card=TWO, inputs={FUTURE: (FLOAT, ["batch", 2, 3])}),
        "input 'future' does not fit the card",
    ),
    "no predictions": (Graph(outputs=("answer",)), "outputs are .'answer'., not .'predictions'"),
    "no attention": (Graph(card=card(attention=True)), "not .'attention', 'predictions'"),
}


@pytest.mark.parametrize(("graph", "reason"), WRONG.values(), ids=WRONG)
def test_a_graph_that_does_not_fit_its_card_is_refused(tmp_path, graph, reason):
    with pytest.raises(ModelRejected, match=reason):
        opened(tmp_path, graph)


def test_a_graph_whose_input_is_a_single_number_is_refused(tmp_path):
    with pytest.raises(ModelRejected):
        opened(tmp_path, Graph(inputs={SEQUENCES: (FLOAT, [])}))


def test_an_output_nobody_asked_for_is_passed_over(tmp_path):
    runner = opened(tmp_path, Graph(outputs=(PREDICTIONS, "debug")))
    assert len(runner.run([Row(np.ones((3, 1), np.float32))])) == 1


def test_a_file_without_a_card_is_refused(tmp_path):
    with pytest.raises(ModelRejected, match="no 'model_card' entry"):
        opened(tmp_path, Graph(metadata={"author": "somebody"}))


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"schema_version": 2})])
def test_a_file_whose_card_cannot_be_read_is_refused(tmp_path, text):
    with pytest.raises(ModelRejected, match="card cannot be read"):
        opened(tmp_path, Graph(metadata={METADATA_KEY: text}))


def garbage(sound: bytes) -> dict[str, bytes]:
    return {
        "nothing": b"",
        "words": b"this is no model",
        "noise": np.random.default_rng(0).bytes(5000),
        "half a model": sound[: len(sound) // 2],
        "a pickle": b"\x80\x04\x95",
    }


@pytest.mark.parametrize("kind", list(garbage(b"")))
def test_a_garbage_file_is_refused(tmp_path, kind):
    path = tmp_path / "1.onnx"
    Graph().write(path)
    path.write_bytes(garbage(path.read_bytes())[kind])
    with pytest.raises(ModelRejected, match="ONNX Runtime cannot load the file") as refused:
        OnnxRunner(path, CPU)
    assert str(tmp_path) not in str(refused.value)  # it is shown to callers


def test_four_bytes_do_not_make_a_file_the_runtime_s_own_format(tmp_path):
    """It would read a flat buffer then, which nothing has checked."""
    Graph().write(tmp_path / "1.onnx")
    producer = b"\x12\x06  ORTM"
    assert OnnxRunner(producer + (tmp_path / "1.onnx").read_bytes(), CPU).card == card()


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "nowhere.onnx", tmp_path):
        with pytest.raises(ModelRejected, match="cannot load the file"):
            OnnxRunner(path, CPU)


def test_each_run_takes_one_thread_and_keeps_no_memory(runners):
    for runner in runners.values():
        options = runner._session.get_session_options()
        assert options.intra_op_num_threads == options.inter_op_num_threads == 1
        assert not options.enable_cpu_mem_arena


class Heap(ctypes.Structure):
    """What glibc's ``mallinfo2`` returns: ten sizes, the eighth of what is in use."""

    _fields_ = (
        ("before", ctypes.c_size_t * 7),
        ("used", ctypes.c_size_t),
        ("after", ctypes.c_size_t * 2),
    )


def test_batches_of_sizes_and_lengths_never_seen_before_leave_nothing_on_the_heap():
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        pytest.skip("this C library does not tell what it has given out")
    mallinfo.restype = Heap
    runner, sizes = OnnxRunner(ROOT / "models/zoo/elnino-attention/1.onnx", CPU), range(1, 21)

    def used_after(lengths):
        for length in lengths:
            for size in sizes:
                runner.run([Row(np.ones((length, 1), np.float32))] * size)
        return mallinfo().used

    used = [used_after(range(length, length + 8)) for length in (20, 28, 36, 44)]
    grew = min(np.diff(used)) / (8 * len(sizes))  # its buffers grow at first
    assert grew < 60  # bytes


def test_who_asks_for_the_cpu_gets_it():
    assert choose_device("cpu") == Device("cpu", "asked for")


def test_without_cuda_auto_falls_back_and_says_why(monkeypatch):
    monkeypatch.setattr(module, "_cuda_obstacle", lambda: "there is no CUDA driver")
    assert choose_device("auto") == Device("cpu", "there is no CUDA driver")
    with pytest.raises(ModelRejected, match="CUDA was asked for, but there is no CUDA driver"):
        choose_device("cuda")


def test_with_cuda_auto_takes_it_and_says_why(monkeypatch):
    monkeypatch.setattr(module, "_cuda_obstacle", lambda: None)
    assert choose_device("auto") == Device("cuda", "a CUDA device is present")
    assert choose_device("cuda") == Device("cuda", "asked for", required=True)


def test_who_insists_on_cuda_is_refused_where_the_runtime_falls_back(tmp_path):
    if choose_device("auto").provider == "cuda":
        pytest.skip("CUDA works here")
    Graph().write(tmp_path / "1.onnx")
    assert OnnxRunner(tmp_path / "1.onnx", Device("cuda", "present")).provider == "cpu"
    with pytest.raises(ModelRejected, match="CUDA was asked for, but ONNX Runtime cannot"):
        OnnxRunner(tmp_path / "1.onnx", Device("cuda", "asked for", required=True))


class Driver:
    """Stands in for libcuda."""

    def __init__(self, status, devices):
        self.status = status
        self.devices = devices

    def cuInit(self, _flags):  # noqa: N802  the driver's own name
        return self.status

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = self.devices
        return 0


@pytest.mark.parametrize(
    ("providers", "driver", "obstacle"),
    [
        ([module.CPU], Driver(0, 1), "this build of ONNX Runtime has no CUDA provider"),
        ([module.CUDA], OSError("libcuda.so.1"), "there is no CUDA driver"),
        ([module.CUDA], Driver(100, 1), "the CUDA driver finds no device"),
        ([module.CUDA], Driver(0, 0), "the CUDA driver finds no device"),
        ([module.CUDA], Driver(0, 1), None),
    ],
)
def test_what_is_in_the_way_of_cuda_is_named(monkeypatch, providers, driver, obstacle):
    def load(_name):
        if isinstance(driver, OSError):
            raise driver
        return driver

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert module._cuda_obstacle.__wrapped__() == obstacle


def test_telemetry_is_off_before_the_library_is_loaded(tmp_path):
    stand_in = "import os, sys; sys.exit(os.environ.get('ORT_DISABLE_TELEMETRY', 'unset'))"
    (tmp_path / "onnxruntime.py").write_text(stand_in)
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    child = subprocess.run(
        [sys.executable, "-c", "import service.engine.runner"],
        env=environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.stderr.strip() == "1"
