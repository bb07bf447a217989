"""What a model must prove when it loads: that an answer does not depend on its neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from models.contract import ModelCard
from service.engine.batcher import Runner
from service.engine.errors import ModelRejected
from service.engine.jobs import Answer, Row

BATCHES = (1, 2, 3, 8, 17)
TOLERANCE = 1e-6  # relative to the largest prediction, where the card does not promise every bit
CUDA_TOLERANCE = 1e-3  # cuDNN may choose TF32 and another algorithm per shape


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """What the check found: the largest difference between batched and alone, relative."""

    cases: int
    bit_for_bit: bool
    largest_difference: float
    tolerance: float


def check(runner: Runner, card: ModelCard, provider: str) -> SelfCheck:
    """
    Compare answers in mixed batches with the same rows alone; raise ModelRejected.

    The rows are drawn with a fixed seed, at several scales and, where the card allows it, with
    missing values; their neighbours are up to ``max_length`` steps longer.
    """
    tolerance = CUDA_TOLERANCE if provider == "cuda" else 0.0 if card.exact else TOLERANCE
    random = np.random.default_rng(0)
    batches = [[_row(card, random) for _ in range(size)] for size in BATCHES]
    try:
        together = list(chain.from_iterable(runner.run(batch) for batch in batches))
        alone = [runner.run([row])[0] for batch in batches for row in batch]
    except Exception as exc:  # whatever the runtime raises, the file must not serve
        raise ModelRejected(f"The self-check could not run the model: {exc}") from exc
    for answer in chain(together, alone):
        _check_answer(answer, card)
    difference = largest_difference(together, alone)
    if difference > tolerance:
        raise ModelRejected(
            f"The self-check found answers in a batch that differ from the same sequence alone "
            f"by {difference:.1e} relative, more than {tolerance:.0e}."
        )
    return SelfCheck(len(alone), difference == 0, difference, tolerance)


def _check_answer(answer: Answer, card: ModelCard) -> None:
    if answer.predictions.shape != card.answer_shape:
        raise ModelRejected(
            f"The self-check found an answer of shape {answer.predictions.shape}; the card says "
            f"{card.answer_shape}."
        )
    if not np.isfinite(answer.predictions).all():
        raise ModelRejected("The self-check found an answer that is not finite.")


def largest_difference(some: Sequence[Answer], others: Sequence[Answer]) -> float:
    """Return the largest difference relative to a row's largest prediction."""
    worst = 0.0
    for one, other in zip(some, others, strict=True):
        if np.array_equal(one.predictions, other.predictions):
            continue
        scale = max(float(np.abs(other.predictions).max()), 1e-6)
        worst = max(worst, float(np.abs(one.predictions - other.predictions).max()) / scale)
    return worst


def _row(card: ModelCard, random: np.random.Generator) -> Row:
    length = int(random.integers(card.min_length, card.max_length + 1))
    scale = 10.0 ** random.uniform(-2, 3)
    values = random.normal(0, scale, (length, len(card.features))).astype(np.float32)
    if card.missing_values:
        values[random.random(values.shape) < 0.1] = np.nan  # noqa: PLR2004  a tenth missing
    future = random.normal(0, 1, (card.horizon, len(card.known))).astype(np.float32)
    return Row(values, future if card.known else None)
