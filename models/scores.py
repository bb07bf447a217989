"""Errors of forecasts, summed over windows; used for the card and for backtests."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.accuracy import BaselineAccuracy, ByStep, Column, Spread, TargetAccuracy
from models.quantiles import mean_weights, median_weights

DIGITS = 5  # significant digits of numbers per step

Array = NDArray[np.float32]
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Scores:
    """
    Sums of errors by step and target, and the MAE of each window.

    Missing actuals are skipped, and a baseline counts only where it has a forecast.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        self._levels = tuple(levels)
        self._sums: dict[tuple[str, str], Numbers] = {}  # each (horizon, targets)
        self._baselines: list[str] = []
        self._by_window: list[Numbers] = []  # each (windows, targets)

    def add(
        self, actuals: Array, predictions: Array, baselines: Mapping[str, Array], scale: Numbers
    ) -> None:
        """
        Add some windows.

        ``actuals`` and each baseline are (windows, horizon, targets), NaN where there is none;
        ``predictions`` (windows, horizon, targets, quantiles) are finite; ``scale`` (windows,
        targets) is what MASE divides by, NaN where unknown.
        """
        truth = actuals.astype(np.float64)  # squares of large numbers do not fit float32
        known = np.isfinite(truth)
        error = np.abs(truth - predictions @ median_weights(self._levels))
        inside = (actuals >= predictions[..., 0]) & (actuals <= predictions[..., -1])
        self._sum("", "count", known, known)
        self._sum("", "absolute", error, known)
        self._sum("", "squared", (truth - predictions @ mean_weights(self._levels)) ** 2, known)
        self._sum("", "inside", inside, known)
        self._sum("", "pinball", self._pinball(truth, predictions), known)
        self._sum("", "size", np.abs(truth), known)
        scaled = known & (scale > 0)[:, None]
        self._sum("", "scaled", error / np.where(scale > 0, scale, 1)[:, None], scaled)
        self._sum("", "scaled_count", scaled, scaled)
        counts = known.sum(axis=1)
        totals = error.sum(axis=1, where=known)
        self._by_window.append(np.where(counts > 0, totals / np.maximum(counts, 1), np.nan))
        self._baselines = list(baselines)
        for name, answer in baselines.items():
            both = known & np.isfinite(answer)
            miss = np.abs(truth - answer)
            self._sum(name, "count", both, both)
            self._sum(name, "absolute", miss, both)
            self._sum(name, "squared", miss**2, both)
            self._sum(name, "ours", error, both)

    def targets(self) -> list[TargetAccuracy | None]:
        """Return the errors of each target; None for one that was never observed."""
        observed = self._sums["", "count"].sum(axis=0) > 0
        return [self._target(number) if seen else None for number, seen in enumerate(observed)]

    def loses_to(self) -> tuple[str, ...]:
        """Name the baselines to which the ratio of MAEs, averaged over the targets, is above 1."""
        return tuple(name for name in self._baselines if self._mean_ratio(name) > 1)

    def _pinball(self, truth: Numbers, predictions: Array) -> Numbers:
        signed, level = truth[..., None] - predictions, np.asarray(self._levels)
        loss: Numbers = np.maximum(level * signed, (level - 1) * signed).mean(-1)
        return loss

    def _sum(self, name: str, what: str, values: Numbers | Mask, where: Mask) -> None:
        total: Numbers = np.sum(values, axis=0, dtype=np.float64, where=where)
        key = name, what
        self._sums[key] = self._sums[key] + total if key in self._sums else total

    def _target(self, number: int) -> TargetAccuracy:
        sums = {key: each[:, number] for key, each in self._sums.items()}
        total = {what: float(each.sum()) for (name, what), each in sums.items() if not name}
        count, size = sums["", "count"], total["size"]
        scaled = total["scaled_count"]
        answered = [name for name in self._baselines if sums[name, "count"].any()]
        return TargetAccuracy(
            mae=total["absolute"] / total["count"],
            rmse=float(np.sqrt(total["squared"] / total["count"])),
            weighted_quantile_loss=2 * total["pinball"] / size if size else None,
            coverage=total["inside"] / total["count"],
            nominal_coverage=round(self._levels[-1] - self._levels[0], 6),
            mase=total["scaled"] / scaled if scaled else None,
            spread=_spread(np.concatenate(self._by_window)[:, number]),
            by_step=ByStep(
                mae=_quotients(sums["", "absolute"], count),
                rmse=_quotients(sums["", "squared"], count, root=True),
                coverage=_quotients(sums["", "inside"], count),
            ),
            baselines={name: self._baseline(name, sums) for name in answered},
        )

    def _baseline(self, name: str, sums: Mapping[tuple[str, str], Numbers]) -> BaselineAccuracy:
        count, absolute = sums[name, "count"], sums[name, "absolute"]
        total, number = float(absolute.sum()), float(count.sum())
        return BaselineAccuracy(
            mae=total / number,
            rmse=float(np.sqrt(sums[name, "squared"].sum() / number)),
            mae_ratio=float(sums[name, "ours"].sum()) / total if total else None,
            mae_by_step=_quotients(absolute, count),
        )

    def _mean_ratio(self, name: str) -> float:
        """Return the mean over targets; infinite where only the baseline makes no error."""
        ours = self._sums[name, "ours"].sum(axis=0)
        theirs = self._sums[name, "absolute"].sum(axis=0)
        answered = self._sums[name, "count"].sum(axis=0) > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(ours == theirs, 1.0, ours / theirs)[answered]
        return float(ratios.mean()) if len(ratios) else 0.0


def rounded(values: NDArray[np.floating]) -> Column:
    """Return numbers to five significant digits, None where they are missing."""
    return tuple(
        float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values.tolist()
    )


def _quotients(sums: Numbers, count: Numbers, *, root: bool = False) -> Column:
    quotients = np.where(count > 0, sums / np.maximum(count, 1), np.nan)
    return rounded(np.sqrt(quotients) if root else quotients)


def _spread(errors: Numbers) -> Spread:
    errors = errors[np.isfinite(errors)]
    low, middle, high = np.quantile(errors, (0.1, 0.5, 0.9)).tolist()
    return Spread(std=float(errors.std()), p10=low, p50=middle, p90=high)
