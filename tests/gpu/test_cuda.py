"""On a CUDA device the zoo answers as on the CPU, within what the card of the service says."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from models.contract import LENGTHS, SEQUENCES
from models.repository import Repository
from service.engine.core import Engine, EngineOptions
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner, _pinned_memory, choose_device
from service.engine.selfcheck import CUDA_TOLERANCE, largest_difference
from service.settings import ZOO

NAMES = ["co2-gru", "co2-lstm", "co2-stream-gru", "elnino-attention"]
DEVICE = choose_device("auto")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE.provider != "cuda", reason=f"no GPU was used: {DEVICE.reason}"),
]


@pytest.mark.parametrize("name", NAMES)
async def test_cuda_answers_as_the_cpu_does(name):
    random = np.random.default_rng(0)
    answers = {}
    for provider in ("cuda", "cpu"):
        async with Engine(Repository(ZOO), EngineOptions(provider)) as engine:
            model = await engine.model(name)
            assert model.provider == provider
            card, random = model.card, np.random.default_rng(0)
            rows = [
                Row(random.normal(300, 9, (length, 1)).astype(np.float32))
                for length in random.integers(card.min_length, card.max_length + 1, 40)
            ]
            answers[provider], _ = await engine.predict(model, rows)
    assert largest_difference(answers["cuda"], answers["cpu"]) <= CUDA_TOLERANCE


@pytest.fixture(params=NAMES)
def pair(request):
    """Return one model on CUDA, where it is bound, and on the CPU, where it is not."""
    path = Repository(ZOO).find(request.param).path
    return OnnxRunner(path, DEVICE), OnnxRunner(path, Device("cpu", "to compare"))


def drawn(card, size, seed) -> list[Row]:
    random = np.random.default_rng(seed)
    lengths = random.integers(card.min_length, card.max_length + 1, size)
    return [Row(random.normal(300, 9, (n, 1)).astype(np.float32), explain=True) for n in lengths]


def test_bound_answers_are_those_of_the_cpu_whatever_the_buffers_held_before(pair):
    cuda, cpu = pair
    assert cuda.provider == "cuda"
    assert cuda._bound
    for seed, size in enumerate((1, 10, 9, 10, 33, 40, 3, 256, 1)):  # 9 and 10, 33 and 40 share one
        rows = drawn(cuda.card, size, seed)
        answers, expected = cuda.run(rows), cpu.run(rows)
        assert largest_difference(answers, expected) <= CUDA_TOLERANCE
        for answer, other in zip(answers, expected, strict=True):
            assert (answer.attention is None) == (other.attention is None)
            if other.attention is not None:
                assert np.abs(answer.attention - other.attention).max() <= CUDA_TOLERANCE


def test_threads_that_run_at_once_keep_their_own_rows_on_cuda(pair):
    cuda, cpu = pair
    batches = [drawn(cuda.card, 8, 100 + worker) for worker in range(4)]
    expected = [cpu.run(batch) for batch in batches]

    def work(worker):
        return [cuda.run(batches[worker]) for _ in range(20)]

    with ThreadPoolExecutor(4) as threads:
        for worker, found in enumerate(threads.map(work, range(4))):
            for answers in found:
                assert largest_difference(answers, expected[worker]) <= CUDA_TOLERANCE


def test_inputs_are_fed_from_pinned_memory_and_lengths_are_read_on_the_host(pair):
    cuda, _ = pair
    assert _pinned_memory(cuda._session) is not None
    names = [node.name for node in cuda._session.get_inputs()]
    wanted = dict(zip(names, cuda._session._sess.input_meminfos, strict=True))
    assert wanted[SEQUENCES].name == "Cuda"
    assert wanted[LENGTHS].name == "Cpu"


def test_batches_of_one_bucket_use_one_buffer_on_cuda(pair):
    cuda, _ = pair
    longest = np.full((cuda.card.max_length, 1), 300, np.float32)
    cuda.run([Row(longest)] * 10)
    kept = cuda._bound.pool.kept
    cuda.run([Row(longest)] * 9)
    assert cuda._bound.pool.kept == kept > 0


def test_a_stream_carried_on_cuda_is_the_one_carried_on_the_cpu():
    path = Repository(ZOO).find("co2-stream-gru").path
    values = np.random.default_rng(3).normal(300, 9, (60, 1)).astype(np.float32)
    ends = []
    for device in (DEVICE, Device("cpu", "to compare")):
        runner, state = OnnxRunner(path, device), None
        for part in np.split(values, (26, 27, 31, 59)):
            (answer,) = runner.run([Row(part, state=state, carry=True)])
            state = answer.state
        ends.append([answer])
    assert largest_difference(*ends) <= CUDA_TOLERANCE
