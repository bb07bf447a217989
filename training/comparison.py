"""One rolling-origin backtest for classical methods and networks; writes and draws nothing."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.accuracy import TargetAccuracy
from models.scores import Scores
from training.baselines import Baseline, DoesNotApply, Forecast, seasonal_naive
from training.baselines.forecast import Points, Quantiles
from training.errors import TrainingError
from training.evaluate import scales
from training.recipe import Recipe
from training.windows import Rows, Split, Windows, spread_rows

_CHUNK = 5  # windows forecast between two reports
_JUDGED = 200  # validation windows whose errors make intervals for a method without any

Actuals = NDArray[np.float64]  # (windows, horizon, targets); NaN is a missing value
Report = Callable[[str, int, int], None]  # name of the contender, origins done, origins in all
Contender = tuple[str, Callable[[], Baseline]]  # a name, and how it is made


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one contender."""

    name: str
    scores: tuple[TargetAccuracy, ...] = ()  # per target; none where there is no forecast
    forecast: Forecast | None = None  # with quantiles
    own_intervals: bool = False  # else made of its errors on the validation part
    fit_seconds: float = 0.0
    forecast_seconds: float = 0.0
    absent: str = ""  # why there is no forecast


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcomes of all contenders on the same windows."""

    recipe: Recipe
    windows: Windows  # the origins of the test part that were forecast
    actuals: Actuals
    outcomes: tuple[Outcome, ...]


def compare(
    recipe: Recipe,
    parts: Split,
    contenders: Iterable[Contender],
    *,
    origins: int,
    report: Report = lambda _name, _done, _total: None,
) -> Comparison:
    """
    Fit each contender once on the training part; forecast from the same origins of the test part.

    At most ``origins`` windows are taken, spread evenly.  A contender that does not apply or
    fails has the reason in its outcome, and the others go on.  Raises TrainingError where no
    window of the test part has a history.
    """
    backtest = _Backtest.plan(recipe, parts, origins)
    outcomes = []
    for name, make in contenders:
        try:
            outcomes.append(backtest.run(name, make, report))
        except DoesNotApply as exc:
            outcomes.append(Outcome(name, absent=f"does not apply: {exc}"))
        except Exception as exc:  # noqa: BLE001  a library's own, of any kind: the others go on
            outcomes.append(Outcome(name, absent=f"failed: {_reason(exc)}"))
    return Comparison(recipe, backtest.tested, backtest.actuals, tuple(outcomes))


@dataclass(frozen=True, slots=True)
class _Backtest:
    """What is the same for every contender."""

    recipe: Recipe
    train: Windows
    validation: Windows
    tested: Windows
    judged: Windows  # of the validation part: what gives intervals to a method without any
    actuals: Actuals
    unit: NDArray[np.float64]  # (tested, targets) what MASE divides by, NaN where unknown

    @classmethod
    def plan(cls, recipe: Recipe, parts: Split, origins: int) -> "_Backtest":
        """Choose origins, spread evenly, among windows that have a history of every target."""
        tested = _spread(parts.test, recipe, origins)
        if not np.isfinite(_actuals(tested)).any(axis=(0, 1)).all():
            raise TrainingError(
                f"{recipe.data.source}: a target has no values after any of these origins\n"
                "  Take more --origins."
            )
        same = np.isin(parts.validation.first, tested.first)
        validation = _only(parts.validation, np.flatnonzero(same)) if same.any() else None
        judged = _spread(validation or parts.validation, recipe, _JUDGED)
        return cls(
            recipe,
            parts.train,
            parts.validation,
            tested,
            judged,
            _actuals(tested),
            scales(tested, recipe.seasonality),
        )

    def run(self, name: str, make: Callable[[], Baseline], report: Report) -> Outcome:
        """Fit, forecast and score one contender; raise what it raises."""
        count = len(self.tested)
        report(name, 0, count)
        contender = make()
        started = time.perf_counter()
        contender.fit(*self._learnt_from(contender))
        fitted = time.perf_counter()
        pieces = []
        for start in range(0, count, _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, count))
            pieces.append(contender.forecast(self.tested, rows))
            report(name, int(rows[-1]) + 1, count)
        ended = time.perf_counter()
        points, own = _joined(pieces)
        quantiles = self._with_errors(points, contender) if own is None else own
        if not np.isfinite(quantiles).all():
            raise TrainingError("it answers with numbers that are not finite")
        return Outcome(
            name,
            scores=self._scores(quantiles),
            forecast=Forecast(points, quantiles),
            own_intervals=own is not None,
            fit_seconds=fitted - started,
            forecast_seconds=ended - fitted,
        )

    def _scores(self, quantiles: Quantiles) -> tuple[TargetAccuracy, ...]:
        scores, actuals = Scores(self.recipe.quantiles), self.actuals.astype(np.float32)
        scores.add(actuals, quantiles.astype(np.float32), {}, self.unit)
        return tuple(each for each in scores.targets() if each is not None)

    def _learnt_from(self, contender: Baseline) -> tuple[Windows, Windows]:
        """Return the parts to fit on; for one model per series, only the series that are tested."""
        if contender.pooled:
            return self.train, self.validation
        train, validation = (
            _only(part, np.flatnonzero(np.isin(part.first, self.tested.first)))
            for part in (self.train, self.validation)
        )
        return train, validation

    def _with_errors(self, points: Points, contender: Baseline) -> Quantiles:
        """
        Add the quantiles of the errors on the validation part to the points.

        The quantiles are taken per step ahead and target, in the unit of MASE, and shifted so
        that the points stay the median.
        """
        judged = contender.forecast(self.judged, np.arange(len(self.judged))).points
        unit = scales(self.judged, self.recipe.seasonality)
        errors = (_actuals(self.judged) - judged) / _known(unit)
        errors = np.where(np.isfinite(errors).any(axis=0), errors, 0.0)  # no error to see: none
        levels = self.recipe.quantiles
        spread = np.nanquantile(errors, levels, axis=0) - np.nanmedian(errors, axis=0)
        around = np.moveaxis(spread, 0, -1) * _known(self.unit)[..., None]
        quantiles: Quantiles = points[..., None] + around
        return quantiles


def _known(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit, (windows, 1, targets), with 1 where it is zero or unknown."""
    return np.where(unit > 0, unit, 1.0)[:, None]


def _actuals(windows: Windows) -> Actuals:
    ahead = windows.origins[:, None] + 1 + np.arange(windows.horizon)
    actuals: Actuals = windows.values[ahead][..., : windows.targets].astype(np.float64)
    return actuals


def _spread(windows: Windows, recipe: Recipe, most: int) -> Windows:
    rows = np.arange(len(windows))
    if np.isnan(windows.values[:, : windows.targets]).any():
        naive = seasonal_naive(windows, rows, recipe.seasonality)
        rows = rows[np.isfinite(naive).all(axis=(1, 2))]
    if not len(rows):
        raise TrainingError(
            f"{recipe.data.source}: no window of a held-out part has a history of every target\n"
            "  Move the borders under [split], or leave that target out."
        )
    return _only(windows, rows[spread_rows(len(rows), most)])


def _only(windows: Windows, rows: Rows) -> Windows:
    return replace(windows, origins=windows.origins[rows], first=windows.first[rows])


def _joined(pieces: Sequence[Forecast]) -> tuple[Points, Quantiles | None]:
    points = np.concatenate([each.points for each in pieces])
    quantiles = [each.quantiles for each in pieces if each.quantiles is not None]
    return points, np.concatenate(quantiles) if len(quantiles) == len(pieces) else None


def _reason(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__
