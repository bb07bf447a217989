"""Windows relative to their last value: the inputs of ridge and nearest neighbours."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from training.baselines.forecast import DoesNotApply, Points
from training.baselines.gaps import filled
from training.windows import Rows, Windows

# What keeps the unit of a flat window above zero: shares of its level and of the target's unit.
_FLAT = 1e-4
_LEAST = 1e-6


class Seen(NamedTuple):
    """Normalised windows of each target, and what undoes the normalisation."""

    inputs: NDArray[np.float64]  # (batch, targets, steps), the last one always 0
    last: NDArray[np.float64]  # (batch, targets), in the data's units
    unit: NDArray[np.float64]  # (batch, targets)
    whole: NDArray[np.bool_]  # (batch, targets): nothing had to be filled

    def restore(self, outputs: NDArray[np.float64]) -> Points:
        """Return (batch, horizon, targets) in the data's units of (batch, targets, horizon)."""
        points: Points = outputs * self.unit[..., None] + self.last[..., None]
        return points.transpose(0, 2, 1)


class Pairs(NamedTuple):
    """The training pairs of one target."""

    inputs: NDArray[np.float64]  # (pairs, steps)
    outputs: NDArray[np.float64]  # (pairs, horizon)


@dataclass(frozen=True, slots=True)
class View:
    """How windows are normalised: how many steps, in units of the target or of the window."""

    steps: int
    unit: NDArray[np.float64]  # (targets,) typical change within the horizon
    own_unit: bool  # series of different size: each window in units of its own spread

    @classmethod
    def learn(cls, train: Windows) -> Self:
        """Look back by the median available length, in units of the typical change."""
        steps = int(np.median(train.available(np.arange(len(train)))))
        change = train.typical_change().astype(np.float64)
        unit = np.where(change > 0, change, 1.0)
        return cls(steps, unit, own_unit=len(np.unique(train.first)) > 1)

    def see(self, windows: Windows, rows: Rows) -> Seen:
        """Return normalised windows; values missing or before the series' start are filled."""
        index = windows.origins[rows][:, None] + np.arange(1 - self.steps, 1)  # (batch, steps)
        inside = index >= windows.first[rows][:, None]
        values = windows.values[np.where(inside, index, 0)][..., : windows.targets]
        values = np.where(inside[..., None], values, np.nan)
        history = filled(values).transpose(0, 2, 1)  # (batch, targets, steps)
        last = history[..., -1]
        moved = history - last[..., None]
        unit = np.broadcast_to(self.unit, last.shape)
        if self.own_unit:
            unit = moved.std(axis=-1) + _FLAT * np.abs(last) + _LEAST * unit
        whole = np.isfinite(values).all(axis=1)
        return Seen(moved / unit[..., None], last, unit, np.asarray(whole))

    def pairs(self, windows: Windows, rows: Rows) -> list[Pairs]:
        """
        Return the training pairs of each target: complete windows with complete actuals.

        If fewer windows than steps are complete, those with filled gaps are used as well.  Raises
        DoesNotApply if fewer than two remain.
        """
        seen = self.see(windows, rows)
        ahead = windows.origins[rows][:, None] + 1 + np.arange(windows.horizon)
        actuals = windows.values[ahead][..., : windows.targets].transpose(0, 2, 1)
        outputs = (actuals - seen.last[..., None]) / seen.unit[..., None]
        usable = np.isfinite(outputs).all(-1) & np.isfinite(seen.inputs).all(-1)
        result = []
        for target in range(windows.targets):
            whole = usable[:, target] & seen.whole[:, target]
            chosen = whole if whole.sum() >= self.steps else usable[:, target]
            if chosen.sum() < 2:  # noqa: PLR2004  one point decides no line
                raise DoesNotApply("too few windows have all their actuals")
            result.append(Pairs(seen.inputs[chosen, target], outputs[chosen, target]))
        return result
