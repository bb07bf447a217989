"""On a CUDA device the zoo answers as on the CPU, within what the card of the service says."""

import numpy as np
import pytest

from models.repository import Repository
from service.engine.core import Engine, EngineOptions
from service.engine.jobs import Row
from service.engine.runner import choose_device
from service.engine.selfcheck import CUDA_TOLERANCE, largest_difference
from service.settings import ZOO

DEVICE = choose_device("auto")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE.provider != "cuda", reason=f"no GPU was used: {DEVICE.reason}"),
]


@pytest.mark.parametrize("name", ["co2-gru", "co2-lstm", "elnino-attention"])
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
