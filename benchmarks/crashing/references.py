"""What the answers should have been: torch alone for a stream, whole windows for a window."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.crashing.streams import Forecast, Stream, forecast
from models.repository import Repository
from service.engine.runner import Device, OnnxRunner
from service.settings import ZOO
from training.networks import Forecaster
from training.pipeline import train
from training.recipe import Recipe

TOLERANCE = 1e-5  # of |answer - torch| / scale
BLOCK = 64  # steps that torch reads at once
AT_ONCE = 256  # windows in one request
WINDOW = "co2-gru"

Draw = Callable[[], list[float]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the answers to a model's streams compare."""

    answers: int
    wrong: int
    worst: float = 0.0  # scaled; 0 where every bit is the same


class Reference(Protocol):
    """A model, and what its answers have to be."""

    name: str

    async def judge(self, streams: list[Stream], url: str) -> Verdict:
        """Hold every acknowledged answer against what it should be."""


class Torch:
    """A GRU with running statistics, trained now for a moment; torch reads its streams alone."""

    name = "co2-running"

    def __init__(self, folder: Path) -> None:
        made = train(
            _recipe(self.name),
            Repository(folder / "models"),
            checkpoints=folder / "checkpoints",
            progress=False,
            anyway=True,
        )
        network = made.fitted.network
        if not isinstance(network, Forecaster):
            raise TypeError(network)
        self._network = network

    async def judge(self, streams: list[Stream], url: str) -> Verdict:  # noqa: ARG002  no service
        scale = float(self._network.target_scale[0])
        answers, wrong, worst = 0, 0, 0.0
        for stream in streams:
            expected = self._answers(stream)
            for answer, wanted in zip(stream.answers, expected, strict=True):
                difference = np.inf
                if answer is not None:
                    difference = float(np.abs(answer[:, 1:] - wanted).max()) / scale
                # Where the mean dwarfs the scale, float32 itself is coarser than the tolerance.
                allowed = TOLERANCE * max(1.0, float(np.abs(wanted).max()) / scale)
                answers, wrong = answers + 1, wrong + (not difference <= allowed)
                worst = max(worst, difference)
        return Verdict(answers, wrong, worst)

    def _answers(self, stream: Stream) -> Sequence[NDArray[np.float32]]:
        """Return the forecast after each acknowledged step, each (horizon, levels)."""
        acknowledged = stream.payloads[: len(stream.answers)]
        inputs = np.array([value for payload in acknowledged for value in payload], np.float32)
        ends = np.cumsum([len(payload) for payload in acknowledged]) - 1
        shapes = self._network.state_shapes
        state = {name: torch.zeros(1, *shape) for name, shape in shapes.items()}
        found = []
        with torch.no_grad():
            for begin in range(0, len(inputs), BLOCK):
                block = torch.from_numpy(inputs[begin : begin + BLOCK])
                rows = block[None, :, None].repeat(len(block), 1, 1)
                lengths = torch.arange(1, len(block) + 1)
                begun = {
                    name: each.repeat_interleave(len(block), 0) for name, each in state.items()
                }
                predictions, carried = self._network.resume(rows, lengths, None, begun)
                found.append(predictions[:, :, 0].numpy())
                state = {name: each[-1:] for name, each in carried.items()}
        return list(np.concatenate(found)[ends]) if found else []


class Window:
    """The zoo's GRU, which must say of a stream what it says of its last steps, bit for bit."""

    name = WINDOW

    def __init__(self, folder: Path) -> None:
        path = Repository(ZOO).find(WINDOW).path
        entry = Repository(folder / "models").publish(WINDOW, lambda to: _copy(path, to))
        self._card = OnnxRunner(entry.path, Device("cpu", "to read the card")).card

    async def judge(self, streams: list[Stream], url: str) -> Verdict:
        answers = wrong = 0
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            for stream in streams:
                windows = list(self._windows(stream))
                expected: list[Forecast | None] = []
                for begin in range(0, len(windows), AT_ONCE):
                    chunk = windows[begin : begin + AT_ONCE]
                    expected += await self._predict(client, chunk)
                for answer, wanted in zip(stream.answers, expected, strict=True):
                    answers, wrong = answers + 1, wrong + (not _same(answer, wanted))
        return Verdict(answers, wrong)

    def _windows(self, stream: Stream) -> Iterator[list[float]]:
        """Yield what the model reads at each acknowledged step."""
        inputs: list[float] = []
        for payload in stream.payloads[: len(stream.answers)]:
            inputs = [*inputs, *payload][-self._card.max_length :]
            yield inputs

    async def _predict(
        self, client: httpx.AsyncClient, windows: list[list[float]]
    ) -> list[Forecast | None]:
        asked = [window for window in windows if len(window) >= self._card.min_length]
        told: Iterator[Forecast | None] = iter(())
        if asked:
            answer = await client.post(f"/v1/models/{WINDOW}/predict", json={"sequences": asked})
            told = map(forecast, answer.raise_for_status().json()["predictions"])
        return [next(told) if len(w) >= self._card.min_length else None for w in windows]


def series(rng: random.Random) -> Draw:
    """Return what draws one to three more values of a walk around 340 ppm."""
    level = 340.0

    def draw() -> list[float]:
        nonlocal level
        values = []
        for _ in range(rng.randint(1, 3)):
            level += 0.05 * (340.0 - level) + rng.gauss(0, 1)
            values.append(round(level, 2))
        return values

    return draw


def _recipe(name: str) -> Recipe:
    return Recipe.model_validate(
        {
            "name": name,
            "horizon": 4,
            "min_length": 1,
            "max_length": BLOCK,
            "data": {
                "source": "statsmodels:co2",
                "time": "ds",
                "targets": ("co2",),
                "frequency": "1w",
            },
            "network": {"kind": "gru", "hidden": 16, "layers": 1, "stream": True},
            "fit": {"epochs": 2, "calibrate": False, "accelerator": "cpu"},
        }
    )


def _same(one: Forecast | None, other: Forecast | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _copy(path: Path, to: Path) -> None:
    to.write_bytes(path.read_bytes())
