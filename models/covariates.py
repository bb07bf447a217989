"""
The columns that nobody sends step by step: what a series has for good, and the calendar's.

Training and the service put them beside the others with this code; it reads no times and no files.
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

    ``given`` has every name of ``static``, and no category but the known ones.
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
