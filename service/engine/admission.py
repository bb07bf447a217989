"""Check rows against the card before they are queued: none that does not fit is ever run."""

from collections.abc import Sequence

import numpy as np

from models.contract import ModelCard
from service.engine.errors import InvalidSequence, unfit
from service.engine.jobs import Array, Row


def check_rows(rows: Sequence[Row], card: ModelCard) -> None:
    """Raise InvalidSequence for the first row that does not fit, naming the row and value."""
    if len(rows) > 1 and _all_plain(rows, card):
        return
    for index, row in enumerate(rows):
        place = f"sequences[{index}]"
        if row.state is not None or row.carry:
            _check_stream(row, card, place)
        else:
            check_sequence(row.sequence, card, f"{place}.values", card.features)
        check_future(row.future, card, f"{place}.future", card.known)


def _all_plain(rows: Sequence[Row], card: ModelCard) -> bool:
    """Whether all rows certainly fit: a fast check of the common case, for a whole request."""
    features, shortest, longest = len(card.features), card.min_length, card.max_length
    for row in rows:
        shape = row.sequence.shape
        if len(shape) != 2 or shape[1] != features or not shortest <= shape[0] <= longest:  # noqa: PLR2004
            return False
        if row.future is not None or card.known or row.carry or row.state is not None:
            return False
    return _finite_together([row.sequence for row in rows])


def unfit_steps(
    values: Sequence[Array], futures: Sequence[Array | None], card: ModelCard
) -> dict[int, InvalidSequence]:
    """
    Return the errors of steps that do not fit, by their index.

    Each step brings values (steps, features) and, or None, a future (horizon, known).
    """
    shape = (len(card.features),)
    if (
        not card.known
        and all(each is None for each in futures)
        and all(each.shape[1:] == shape for each in values)
        and _finite_together(values)
    ):
        return {}
    found = {}
    for place, (steps, future) in enumerate(zip(values, futures, strict=True)):
        try:
            check_steps(steps, card, "values", card.features)
            check_future(future, card, "future", card.known)
        except InvalidSequence as exc:
            found[place] = exc
    return found


def _finite_together(values: Sequence[Array]) -> bool:
    """Whether all values are finite, checked in one pass."""
    return bool(np.isfinite(np.concatenate(values)).all())


def check_steps(sequence: Array, card: ModelCard, place: str, columns: tuple[str, ...]) -> None:
    """Raise InvalidSequence unless (time, columns) has columns and values that the card allows."""
    features = len(columns)
    if sequence.ndim != 2 or sequence.shape[1] != features:  # noqa: PLR2004  (time, features)
        got = sequence.shape[1] if sequence.ndim == 2 else 1  # noqa: PLR2004
        names = ", ".join(columns)
        raise InvalidSequence(
            place, f"expected {features} features a step ({names:.200}), got {got}"
        )
    _check_finite(sequence, place, missing_values=card.missing_values)


def check_sequence(sequence: Array, card: ModelCard, place: str, columns: tuple[str, ...]) -> None:
    """Raise InvalidSequence unless (time, columns) has a length and values that the card allows."""
    check_steps(sequence, card, place, columns)
    length = len(sequence)
    if not card.min_length <= length <= card.max_length:
        expected = f"expected {card.min_length} to {card.max_length} steps, got {length}"
        if card.targets and length > card.max_length:
            expected += f"; the last {card.max_length} are enough for a forecast"
        raise InvalidSequence(place, expected)
    # A forecast continues the targets; a classifier reads all columns.
    if card.missing_values and np.isnan(sequence[:, : len(card.targets) or None]).all():
        raise InvalidSequence(place, "every value is missing, which leaves nothing to go on from")


def _check_stream(row: Row, card: ModelCard, place: str) -> None:
    """Check one part of a stream: unlike a sequence it may be shorter, or all missing."""
    check_steps(row.sequence, card, f"{place}.values", card.features)
    if not 1 <= len(row.sequence) <= card.max_length:
        raise InvalidSequence(
            f"{place}.values", f"expected 1 to {card.max_length} steps, got {len(row.sequence)}"
        )
    size = card.state.size
    if row.state is not None and row.state.shape != (size,):
        raise InvalidSequence(f"{place}.state", f"expected {size} numbers")


def check_future(
    future: Array | None, card: ModelCard, place: str, columns: tuple[str, ...]
) -> None:
    """Raise InvalidSequence unless it is (horizon, columns), or None where there are no columns."""
    shape = card.horizon, len(columns)
    if future is None:
        if columns:
            names = ", ".join(columns)
            raise InvalidSequence(
                place, f"expected {shape[0]} steps of the known covariates ({names:.200}), got none"
            )
        return
    if not columns:
        raise InvalidSequence(place, "this model knows no covariates ahead")
    if future.shape != shape:
        raise InvalidSequence(place, f"expected shape {shape}, got {future.shape}")
    _check_finite(future, place, missing_values=False)


def _check_finite(values: Array, place: str, *, missing_values: bool) -> None:
    if np.isfinite(values).all():
        return
    wrong = np.isinf(values) if missing_values else ~np.isfinite(values)
    if not wrong.any():
        return
    step, feature = np.unravel_index(int(wrong.argmax()), values.shape)
    where = f"{place}[{step}]" if values.shape[1] == 1 else f"{place}[{step}][{feature}]"
    raise unfit(where, values[step, feature])
