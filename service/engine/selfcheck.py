"""Check, when a model loads, that an answer does not depend on the rest of its batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from models.contract import ModelCard
from service.engine.batcher import Runner
from service.engine.errors import ModelRejected
from service.engine.jobs import Answer, Array, Row

BATCHES = (1, 2, 3, 8, 17)
GO_ON = 4  # batches of the second round, which starts from states
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
    Compare answers in batches of mixed lengths with those of the same rows alone.

    The rows are drawn with a fixed seed, of all lengths and several scales and, where the card
    allows it, with missing values.  Attention and states are compared, too, and a model that has
    states runs a second round from those of the first.  Raises ModelRejected for a difference
    beyond the tolerance, and for answers of the wrong shape or not finite.
    """
    tolerance = CUDA_TOLERANCE if provider == "cuda" else 0.0 if card.exact else TOLERANCE
    random = np.random.default_rng(0)
    batches = [[_row(card, random) for _ in range(size)] for size in BATCHES]
    together, alone = _asked(runner, card, batches)
    if card.state.tensors:
        states = iter(answer.state for answer in alone)
        batches = [[replace(row, state=next(states)) for row in batch] for batch in batches[:GO_ON]]
        together, alone = (
            first + second
            for first, second in zip((together, alone), _asked(runner, card, batches), strict=True)
        )
    difference = largest_difference(together, alone)
    if difference > tolerance:
        raise ModelRejected(
            f"The self-check found answers in a batch that differ from the same sequence alone "
            f"by {difference:.1e} relative, more than {tolerance:.0e}."
        )
    return SelfCheck(len(alone), difference == 0, difference, tolerance)


def _asked(
    runner: Runner, card: ModelCard, batches: Sequence[Sequence[Row]]
) -> tuple[list[Answer], list[Answer]]:
    """Return the answers of rows in batches, and alone; raise ModelRejected for unsound ones."""
    rows = list(chain.from_iterable(batches))
    try:
        together = list(chain.from_iterable(runner.run(batch) for batch in batches))
        alone = [runner.run([row])[0] for row in rows]
    except Exception as exc:  # whatever the runtime raises, the file must not serve
        raise ModelRejected(f"The self-check could not run the model: {exc}") from exc
    for answer, row in zip(chain(together, alone), chain(rows, rows), strict=True):
        _check_answer(answer, card)
        if row.carry:
            _check_told(answer.state, (card.state.size,), "a state")
        if row.explain:
            _check_told(answer.attention, (len(row.sequence),), "attention")
    return together, alone


def _check_told(told: Array | None, shape: tuple[int, ...], what: str) -> None:
    found = None if told is None else told.shape
    if told is None or found != shape:
        raise ModelRejected(f"The self-check found {what} of shape {found}, not {shape}.")
    if not np.isfinite(told).all():
        raise ModelRejected(f"The self-check found {what} that is not finite.")


def _check_answer(answer: Answer, card: ModelCard) -> None:
    if answer.predictions.shape != card.answer_shape:
        raise ModelRejected(
            f"The self-check found an answer of shape {answer.predictions.shape}; the card says "
            f"{card.answer_shape}."
        )
    if not np.isfinite(answer.predictions).all():
        raise ModelRejected("The self-check found an answer that is not finite.")


def largest_difference(some: Sequence[Answer], others: Sequence[Answer]) -> float:
    """Return the largest difference between answers, relative to their largest number."""
    pairs = (
        pair
        for one, other in zip(some, others, strict=True)
        for pair in zip(_told(one), _told(other), strict=True)
    )
    return max((_difference(*pair) for pair in pairs), default=0.0)


def _told(answer: Answer) -> list[Array]:
    return [
        part
        for part in (answer.predictions, answer.attention, answer.state)
        if part is not None and part.size
    ]


def _difference(one: Array, other: Array) -> float:
    if np.array_equal(one, other):
        return 0.0
    return float(np.abs(one - other).max()) / max(float(np.abs(other).max()), 1e-6)


def _row(card: ModelCard, random: np.random.Generator) -> Row:
    length = int(random.integers(card.min_length, card.max_length + 1))
    scale = 10.0 ** random.uniform(-2, 3)
    values = random.normal(0, scale, (length, len(card.features))).astype(np.float32)
    if card.missing_values:
        values[random.random(values.shape) < 0.1] = np.nan  # noqa: PLR2004  a tenth missing
    future = random.normal(0, 1, (card.horizon, len(card.known))).astype(np.float32)
    return Row(
        values,
        future if card.known else None,
        explain=card.attention,
        carry=bool(card.state.tensors),
    )
