"""Live accuracy: the errors of each model's forecasts in the sessions of this process."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from models.accuracy import Accuracy
from models.contract import ModelCard
from service.engine.core import LoadedModel
from service.sessions.observer import Observer
from service.sessions.score import ERROR, HITS, NAIVE, STEPS, Sums, nothing

MOST = 1_000  # times the measured MAE
MEMORY = 10_000  # scored steps after which the weight of an old one has fallen to 1/e
Key: TypeAlias = tuple[str, int]  # name and version


@dataclass(frozen=True, slots=True)
class LiveAccuracy:
    """The errors of one target's forecasts of the next step, and seasonal naive's."""

    steps: float  # the sum of the weights of the scored steps
    mae: float  # in the target's unit
    seasonal_naive_mae: float
    coverage: float  # of the interval between the lowest and the highest level
    nominal_coverage: float

    @property
    def mae_ratio(self) -> float | None:
        """The MAE over seasonal naive's; None where that is 0."""
        return self.mae / self.seasonal_naive_mae if self.seasonal_naive_mae else None


class Live:
    """Exponentially weighted sums by model and version; all scores are passed to an observer."""

    def __init__(self, observer: Observer) -> None:
        self._sums: dict[Key, Sums] = {}
        self._observer = observer

    def note(self, model: LoadedModel, steps: Sums) -> None:
        """
        Add the scores of steps, (n, 4, targets), to those of a model.

        An error counts as at most ``MOST`` times the MAE on the card, so that the nonsense of one
        session does not hide what all others show.
        """
        found = np.minimum(steps, most(model.card)).sum(axis=0)
        if not found[STEPS].any():
            return
        key, card = (model.entry.name, model.entry.version), model.card
        before = self._sums.get(key)
        if before is None:
            before = nothing(len(card.targets))
        self._sums[key] = before * np.exp(-found[STEPS] / MEMORY) + found
        self._observer.on_scored(*key, dict(zip(card.targets, found.T, strict=True)))

    def of(self, model: LoadedModel) -> dict[str, LiveAccuracy]:
        """Return the accuracy by target; empty while nothing was scored."""
        sums = self._sums.get((model.entry.name, model.entry.version))
        return {} if sums is None else accuracy(sums, model.card)


def most(card: ModelCard) -> Sums:
    """Return the upper bound of each figure of one step, (4, targets)."""
    most = np.full((4, len(card.targets)), np.inf)
    if isinstance(card.accuracy, Accuracy):
        measured = [card.accuracy.targets[target].mae for target in card.targets]
        most[[ERROR, NAIVE]] = MOST * np.array(measured)
    return most


def accuracy(sums: Sums, card: ModelCard) -> dict[str, LiveAccuracy]:
    """Return the accuracy that sums (4, targets) make, for targets with a scored step."""
    nominal = card.quantiles[-1] - card.quantiles[0] if card.quantiles else 0.0
    found = {}
    for target, column in zip(card.targets, sums.T, strict=True):
        if steps := float(column[STEPS]):
            mae, naive, inside = (float(column[row]) / steps for row in (ERROR, NAIVE, HITS))
            found[target] = LiveAccuracy(steps, mae, naive, inside, nominal)
    return found
