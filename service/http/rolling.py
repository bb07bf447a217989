"""Cut a series at rolling origins, and score what was forecast there; knows no wire format."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.accuracy import SEASONAL_NAIVE, TargetAccuracy
from models.contract import ModelCard
from models.scores import Scores
from models.seasonal import seasonal_error, seasonal_naive
from service.engine.jobs import Answer, Array, Row

Places = NDArray[np.int64]


def choose_origins(values: Array, card: ModelCard, count: int, stride: int | None) -> Places:
    """
    Return the last step that each window reads, at most ``count``, in order.

    The last window ends with the series, and the others lie ``stride`` steps before each other;
    without a stride they spread over the series, at most a horizon apart.  Windows without an
    observed target to read, or without one to compare with, are left out.
    """
    first, last = card.min_length - 1, len(values) - card.horizon - 1
    if stride is None:
        stride = max(1, min(card.horizon, (last - first) // max(1, count - 1)))
    origins = np.arange(last, first - 1, -stride)[:count][::-1]
    observed = ~np.isnan(values[:, : len(card.targets)]).all(axis=1)
    seen = np.concatenate([[0], np.cumsum(observed)])
    begins = np.maximum(origins + 1 - card.max_length, 0)
    read = seen[origins + 1] > seen[begins]
    compared = seen[origins + 1 + card.horizon] > seen[origins + 1]
    chosen: Places = origins[read & compared]
    return chosen


def cut(values: Array, origins: Places, card: ModelCard) -> list[Row]:
    """Return what the model reads at each origin: as much as it may, and what is known ahead."""
    known = len(card.known)
    rows = []
    for origin in origins.tolist():
        begin = max(0, origin + 1 - card.max_length)
        ahead = values[origin + 1 : origin + 1 + card.horizon, values.shape[1] - known :]
        future = np.ascontiguousarray(ahead) if known else None
        rows.append(Row(values[begin : origin + 1], future))
    return rows


def score(
    values: Array, origins: Places, answers: Sequence[Answer], card: ModelCard
) -> dict[str, TargetAccuracy]:
    """
    Return the errors of each target that was observed, beside seasonal naive on the same windows.

    The scale of MASE is seasonal naive's error up to the first origin.
    """
    targets = values[:, : len(card.targets)]
    ahead = origins[:, None] + 1 + np.arange(card.horizon)
    naive = seasonal_naive(targets, origins, np.zeros_like(origins), card.horizon, card.season)
    scale = seasonal_error(targets[: origins[0] + 1], card.season)
    scores = Scores(card.quantiles)
    scores.add(
        targets[ahead],
        np.stack([answer.predictions for answer in answers]),
        {SEASONAL_NAIVE: naive},
        np.broadcast_to(scale, (len(origins), len(scale))),
    )
    found = zip(card.targets, scores.targets(), strict=True)
    return {name: errors for name, errors in found if errors is not None}
