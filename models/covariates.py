"""
The columns that are not given step by step: static covariates and those of the calendar.

Training and serving both join them to the others with this code.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Categories = tuple[str, ...] | None  # None: a number
Values = NDArray[np.float32]


def static_columns(static: Mapping[str, Categories]) -> tuple[str, ...]:
    """Name the columns of ``encode_static``: ``size``, ``region=north``, ``region=south``."""
    return tuple(
        name if category is None else f"{name}={category}"
        for name, categories in static.items()
        for category in ((None,) if categories is None else categories)
    )


def encode_static(static: Mapping[str, Categories], given: Mapping[str, float | str]) -> Values:
    """
    Return (columns,): a number as it is, a category as 1 in its own column and 0 in the others.

    ``given`` must have every name of ``static``, and only known categories.
    """
    numbers: list[float] = []
    for name, categories in static.items():
        value = given[name]
        if categories is None:
            numbers.append(float(value))
        else:
            numbers += [float(value == category) for category in categories]
    return np.array(numbers, np.float32)


def join(values: Values, known: int, static: Values, calendar: Values) -> Values:
    """
    Return (time, features) in the order of the card.

    ``values`` (time, columns) are targets, past covariates and ``known`` covariates known ahead;
    ``static`` (columns,) comes before the known ones, ``calendar`` (time, columns) behind them.
    """
    past = values.shape[1] - known
    constant = np.broadcast_to(static, (len(values), len(static)))
    return np.concatenate([values[:, :past], constant, values[:, past:], calendar], axis=1)
