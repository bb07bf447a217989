"""ARIMA, with and without covariates known ahead, and Holt-Winters: all of statsforecast."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.baselines.forecast import DoesNotApply, normal_quantiles
from training.baselines.local import Ahead, History, Local
from training.recipe import Recipe

_LONG = 60  # steps; a longer season is modelled by harmonics: a seasonal ARIMA takes minutes
_HARMONICS = 3
_BOUNDS = {  # of the stepwise search (Hyndman & Khandakar, JSS 2008)
    "max_p": 3,
    "max_q": 3,
    "max_P": 1,
    "max_Q": 1,
    "nmodels": 20,
    "approximation": True,
}
_LEVEL = 80  # per cent; the interval from which the deviation is computed
_SCORE = 1.2815515655446004  # the normal quantile of its upper end, 0.9


@dataclass(frozen=True, slots=True)
class _Regressors:
    """The regressors of a series, standardised by the training part."""

    columns: NDArray[np.int64]  # of the known covariates: those that vary
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    season: int  # of the harmonics; 1: none

    @classmethod
    def learn(cls, known: NDArray[np.float64], season: int) -> "_Regressors":
        """Choose the known covariates (time, known) that vary."""
        scale = known.std(axis=0)
        columns = np.flatnonzero(scale > np.finfo(float).eps * np.abs(known).max(initial=1.0))
        return cls(columns, known.mean(axis=0)[columns], scale[columns], season)

    def __call__(self, known: NDArray[np.float64], start: int) -> NDArray[np.float64] | None:
        """Return (time, regressors) of steps from ``start`` on, None where there are none."""
        parts = [(known[:, self.columns] - self.mean) / self.scale]
        if self.season > 1:
            turn = 2 * np.pi * (start + np.arange(len(known)))[:, None] / self.season
            angles = turn * np.arange(1, _HARMONICS + 1)
            parts += [np.sin(angles), np.cos(angles)]
        table: NDArray[np.float64] = np.concatenate(parts, axis=1)
        return table if table.shape[1] else None


class Arima(Local):
    """One ARIMA a target, its order found by AutoARIMA on the training part."""

    name = "ARIMA"
    explained = False  # by covariates known ahead

    def learn(self, history: History) -> list[tuple[Any, _Regressors]]:
        """Search the orders of each target, and estimate."""
        from statsforecast.models import AutoARIMA  # noqa: PLC0415  seconds to import

        long = self.season > _LONG
        known = history.known if self.explained else history.known[:, :0]
        regressors = _Regressors.learn(known, self.season if long else 1)
        if self.explained and not len(regressors.columns):
            raise DoesNotApply("the covariates known ahead do not vary")
        season = 1 if long else self.season
        outside = regressors(known, 0)
        return [
            (AutoARIMA(season_length=season, **_BOUNDS).fit(values, X=outside), regressors)
            for values in np.ascontiguousarray(history.values.T)
        ]

    def ahead(self, model: Any, history: History) -> Ahead:  # noqa: ANN401
        """Filter the history with the parameters as they are, and forecast."""
        found = []
        used = slice(None) if self.explained else slice(0)
        for (each, regressors), values in zip(model, history.values.T, strict=True):
            found.append(
                each.forward(
                    np.ascontiguousarray(values),
                    h=self.horizon,
                    X=regressors(history.known[:, used], 0),
                    X_future=regressors(history.future[:, used], len(values)),
                    level=[_LEVEL],
                )
            )
        return _normal(found, self.levels)


class Arimax(Arima):
    """The same with the covariates known ahead as regressors."""

    name = "ARIMAX"
    explained = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        if not recipe.data.known:
            raise DoesNotApply("no covariate is known ahead")


class HoltWinters(Local):
    """
    Exponential smoothing with trend and season, additive or multiplicative by the AICc.

    Without a season it is Holt's method.
    """

    name = "Holt-Winters"

    def learn(self, history: History) -> list[Any]:
        """Estimate the parameters of each target."""
        return [self._best(values) for values in np.ascontiguousarray(history.values.T)]

    def _best(self, values: NDArray[np.float64]) -> Any:  # noqa: ANN401
        from statsforecast.models import AutoETS  # noqa: PLC0415  seconds to import

        kinds = ["AAA" if self.season > 1 else "AAN"]
        if values.min() > 0:
            kinds.append("MAM" if self.season > 1 else "MAN")
        fits = [AutoETS(season_length=self.season, model=kind).fit(values) for kind in kinds]
        return min(fits, key=lambda each: float(each.model_["aicc"]))

    def ahead(self, model: list[Any], history: History) -> Ahead:
        """Smooth the history with the parameters as they are, and forecast."""
        additive = all(each.model_["components"][0] == "A" for each in model)
        level = [_LEVEL] if additive else None  # the others' intervals are simulated
        found = [
            each.forward(np.ascontiguousarray(values), h=self.horizon, level=level)
            for each, values in zip(model, history.values.T, strict=True)
        ]
        if additive:
            return _normal(found, self.levels)
        return Ahead(np.stack([each["mean"] for each in found], axis=-1))


def _normal(found: list[dict[str, Any]], levels: tuple[float, ...]) -> Ahead:
    mean = np.stack([np.asarray(each["mean"], float) for each in found], axis=-1)
    upper = np.stack([np.asarray(each[f"hi-{_LEVEL}"], float) for each in found], axis=-1)
    return Ahead(mean, normal_quantiles(mean, (upper - mean) / _SCORE, levels))
