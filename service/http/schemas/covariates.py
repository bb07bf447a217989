"""What a caller need not send step by step: static columns and the calendar's are added here."""

from collections.abc import Mapping
from datetime import datetime
from typing import cast

import numpy as np

from models.calendar import cycle_features
from models.contract import ModelCard
from models.covariates import Categories, Values, encode_static, join
from models.frequency import Frequency
from service.engine.admission import check_future, check_sequence
from service.engine.jobs import Array
from service.http.errors import InvalidRequest
from service.http.schemas.plain import Series

_LARGEST = float(np.finfo(np.float32).max)


def complete(
    series: Series, start: datetime | None, card: ModelCard, index: int
) -> tuple[Array, Array | None]:
    """
    Return the sequence (time, features) and the future (horizon, known) that the model reads.

    A series holds what the card calls ``given``; ``start`` is the time of its first step.
    Where the card makes columns, what was sent is checked before any is made: raises
    InvalidSequence and InvalidRequest, which name what is wrong from
    ``sequences[index]`` on.
    """
    if not card.calendar and not card.static and series.static is None:
        return series.values, series.future
    place = f"sequences[{index}]"
    check_sequence(series.values, card, f"{place}.values", card.given)
    return extend(series, start, card, place)


def extend(
    series: Series, start: datetime | None, card: ModelCard, place: str, time: str = "start"
) -> tuple[Array, Array | None]:
    """
    Do what ``complete`` does for values of any length, whose columns have been checked.

    ``time`` is the field that says the start.  Raises InvalidSequence and InvalidRequest from
    ``place`` on.
    """
    values, future, known = series.values, series.future, card.given_known
    check_future(future, card, f"{place}.future", known)
    static = static_row(series.static, card, f"{place}.static")
    cycles = _cycles(start, len(values) + card.horizon, card, f"{place}.{time}")
    sequence = join(values, len(known), static, cycles[: len(values)])
    if not card.known:
        return sequence, None
    ahead = np.empty((card.horizon, 0), np.float32) if future is None else future
    return sequence, np.concatenate([ahead, cycles[len(values) :]], axis=1)


def complete_history(
    values: Array, static: object, start: datetime | None, card: ModelCard, place: str
) -> Array:
    """
    Return all features (time, features) of what a history gives, (time, ``given``).

    Raises InvalidRequest from ``place`` on, as ``complete`` does.
    """
    if not card.calendar and not card.static and static is None:
        return values
    row = static_row(static, card, f"{place}.static")
    cycles = _cycles(start, len(values), card, f"{place}.start")
    return join(values, len(card.given_known), row, cycles)


def _cycles(start: datetime | None, count: int, card: ModelCard, place: str) -> Values:
    """Return the columns of the calendar, (count, columns)."""
    if not card.calendar:
        return np.empty((count, 0), np.float32)
    if start is None:
        cycles = ", ".join(card.calendar)
        problem = f"expected the time of the first step, which this model reads ({cycles})"
        raise InvalidRequest(place, problem)
    try:
        times = Frequency.parse(card.frequency).times(start, count)
    except OverflowError:
        raise InvalidRequest(place, "the forecast would leave the calendar") from None
    return cycle_features(times, card.calendar)


def static_row(given: object, card: ModelCard, place: str) -> Values:
    """Return the row of static columns, (columns,); raise InvalidRequest from ``place`` on."""
    if not card.static and given is not None:
        raise InvalidRequest(place, "this model has no static covariates")
    if not card.static:
        return np.empty(0, np.float32)
    names = ", ".join(card.static)
    if not isinstance(given, Mapping):
        raise InvalidRequest(place, f"expected an object with {names:.200}")
    if unknown := [name for name in given if name not in card.static]:
        raise InvalidRequest(f"{place}.{unknown[0]:.64}", f"unknown; expected {names:.200}")
    for name, categories in card.static.items():
        check_static(given.get(name), categories, f"{place}.{name}")
    return encode_static(card.static, given)


def check_static(value: object, categories: Categories, place: str) -> None:
    """Raise InvalidRequest for what is no number, or none of the categories."""
    if categories is not None:
        if value not in categories:
            raise InvalidRequest(place, f"expected one of {', '.join(categories):.500}")
    elif type(value) not in (int, float) or not abs(cast(float, value)) <= _LARGEST:
        raise InvalidRequest(place, "expected a number that float32 can hold")
