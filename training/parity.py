"""The check before a file is published: ONNX Runtime must answer as torch does."""

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.contract import (
    FUTURE,
    LENGTHS,
    NEXT_STATE,
    SEQUENCES,
    STATE,
    ModelCard,
)
from training.errors import ParityError
from training.graph import Arrays, Graph, Network, begin, state_of

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, when the module is imported
import onnxruntime

TOLERANCE = 1e-4  # of |ONNX - torch| / scale; what was measured lies below 2e-5
_ULPS = 4
_GARBAGE = 1e6
_MISSING = 0.2  # share of the gate's values, where the card allows any
_CUTS = ((1, 2), (3, 3), (5, 17), (17, 4))  # rows, and the pieces each is cut into


def check_parity(
    network: Network, path: Path, card: ModelCard, tolerance: float = TOLERANCE
) -> float:
    """
    Return the largest scaled difference between the file and its network.

    Torch gets zeros as padding, the file NaN or garbage.  For a network that streams, torch reads
    each row at once, and the file also piece by piece.  Raises ParityError for the first case in
    which predictions (in units of the target's scale), attention or state differ by more than
    the tolerance.
    """
    gate = _Gate(network, path, card, tolerance)
    for index, (label, case) in enumerate(_cases(network, card)):
        gate.compare(label, gate.run(_dirty(case, index)), gate.graph.answer(case))
    if gate.graph.tensors:
        rng = np.random.default_rng(1)
        for batch, pieces in _CUTS:
            case = draw_case(rng, network, card, (batch, card.max_length))
            gate.stream(case, _bounds(rng, case[LENGTHS], min(pieces, card.max_length)))
    return gate.worst


class _Gate:
    """A file, its network, and the largest difference found so far."""

    def __init__(self, network: Network, path: Path, card: ModelCard, tolerance: float) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self.graph = Graph(network, card)
        self.scale = network.target_scale.cpu().numpy()[:, None]
        self.tolerance = tolerance
        self.worst = 0.0

    def run(self, feeds: Arrays) -> list[NDArray[Any]]:
        return [np.asarray(each) for each in self.session.run(self.graph.outputs, feeds)]

    def stream(self, case: Arrays, bounds: NDArray[np.int64]) -> None:
        """Compare the file, fed piece by piece, with torch, fed all steps up to each bound."""
        carried: Arrays = {}
        for number, (begins, ends) in enumerate(pairwise(bounds)):
            sequences = _between(case[SEQUENCES], begins, ends)
            piece = case | {SEQUENCES: sequences, LENGTHS: ends - begins} | carried
            answers = self.run(_dirty(piece, number))
            label = f"batch {len(ends)}, piece {number + 1} of {len(bounds) - 1}"
            whole = _filled(case | {LENGTHS: ends}, 0.0)
            self.compare(label, answers, self.graph.answer(whole))
            given = dict(zip(self.graph.outputs, answers, strict=True))
            carried = {STATE + name: given[NEXT_STATE + name] for name in self.graph.tensors}

    def compare(
        self, label: str, answers: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]
    ) -> None:
        """Raise ParityError where they differ by more than the tolerance."""
        worst, allowed = self._difference(answers, expected)
        if not allowed:
            raise ParityError(worst, self.tolerance, label)
        self.worst = max(self.worst, worst)

    def _difference(
        self, answers: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]
    ) -> tuple[float, bool]:
        if [answer.shape for answer in answers] != [wanted.shape for wanted in expected]:
            return float("inf"), False
        worst, allowed = 0.0, True
        for number, (answer, wanted) in enumerate(zip(answers, expected, strict=True)):
            # Predictions in the target's units; attention and state as they are.
            unit = self.scale if number == 0 else np.maximum(1.0, np.abs(wanted))
            difference = np.abs(answer - wanted)
            # Where the mean dwarfs the scale, float32 itself is coarser than the tolerance.
            resolution = _ULPS * np.spacing(np.abs(wanted))
            allowed &= bool((difference <= self.tolerance * unit + resolution).all())  # no NaN
            worst = max(worst, float(np.nan_to_num(difference / unit, nan=np.inf).max()))
        return worst, allowed


def _cases(network: Network, card: ModelCard) -> Iterator[tuple[str, Arrays]]:
    rng = np.random.default_rng(0)
    times = sorted({1, card.min_length, (card.min_length + card.max_length) // 2, card.max_length})
    for batch, time in product((1, 3, 17), times):
        yield f"batch {batch}, time {time}", draw_case(rng, network, card, (batch, time))


def draw_case(
    rng: np.random.Generator, network: Network, card: ModelCard, shape: tuple[int, int]
) -> Arrays:
    """Draw rows (batch, time) of mixed lengths in the data's units, the first one full."""
    batch, time = shape
    scaling = network.normaliser.mean.cpu().numpy(), network.normaliser.scale.cpu().numpy()
    sequences = _draw(rng, card, (batch, time), scaling)
    lengths = rng.integers(1, time + 1, size=batch)
    lengths[0] = time
    case: Arrays = {SEQUENCES: sequences, LENGTHS: lengths, **begin(state_of(network), batch)}
    if card.known:
        future = _draw(rng, card, (batch, card.horizon), scaling)[..., -len(card.known) :]
        case[FUTURE] = np.ascontiguousarray(future)
    return _filled(case, 0.0)


def _draw(
    rng: np.random.Generator,
    card: ModelCard,
    shape: tuple[int, int],
    scaling: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> NDArray[np.float32]:
    mean, scale = scaling
    values = mean + scale * rng.standard_normal((*shape, len(mean)), dtype=np.float32)
    if card.missing_values:
        values[rng.random(values.shape) < _MISSING] = np.nan
    return values


def _bounds(rng: np.random.Generator, lengths: NDArray[np.int64], pieces: int) -> NDArray[np.int64]:
    """Draw where rows are cut, (pieces + 1, batch); rows shorter than ``pieces`` are lengthened."""
    rows = []
    for length in np.maximum(lengths, pieces):
        inner = np.sort(rng.permutation(length - 1)[: pieces - 1]) + 1
        rows.append([0, *inner, length])
    return np.array(rows).T


def _between(
    sequences: NDArray[np.float32], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the pieces of rows from ``begins`` on, each as long as the longest one."""
    steps = begins[:, None] + np.arange(int((ends - begins).max()))
    kept = np.minimum(steps, sequences.shape[1] - 1)
    return np.take_along_axis(sequences, kept[..., None], axis=1)


def _dirty(case: Arrays, index: int) -> Arrays:
    """Return the case with NaN or a large number as padding."""
    return _filled(case, np.nan if index % 2 else _GARBAGE)


def _filled(case: Arrays, padding: float) -> Arrays:
    sequences = case[SEQUENCES].copy()
    sequences[np.arange(sequences.shape[1]) >= case[LENGTHS][:, None]] = padding
    return case | {SEQUENCES: sequences}
