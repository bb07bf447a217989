"""All targets at once: VARMA, or VAR where that cannot be estimated, both of statsmodels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.baselines.forecast import DoesNotApply, normal_quantiles
from training.baselines.local import Ahead, History, Local
from training.recipe import Recipe

_MOST = 4  # targets; VARMA's parameters grow with their square, its time faster
_ITERATIONS = 100
_LAGS = 12  # at most, of a VAR


@dataclass(frozen=True, slots=True)
class _Fitted:
    model: Any  # of statsmodels
    moving_average: bool
    profile: NDArray[np.float64]  # (season, targets), from the history's first step on
    scale: NDArray[np.float64]  # (targets,)


class Varma(Local):
    """
    VARMA(1, 1) over what is left of the targets without their season.

    The season is what a classical decomposition of the training part finds.  A VAR with its
    order by the AIC takes the place of a VARMA that does not converge, or of one too large.
    """

    name = "VARMA"

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        if len(recipe.data.targets) == 1:
            raise DoesNotApply("there is one target")

    def learn(self, history: History) -> _Fitted:
        """Take the season off, and estimate."""
        profile = self._profile(history.values)
        left = history.values - _tiled(profile, 0, len(history.values))
        scale = left.std(axis=0)
        scale[scale == 0] = 1.0
        found = _varma(left / scale) if left.shape[1] <= _MOST else None
        return _Fitted(found or _var(left / scale), found is not None, profile, scale)

    def _profile(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        from statsmodels.tsa.seasonal import seasonal_decompose  # noqa: PLC0415  slow to import

        if self.season == 1 or len(values) < 2 * self.season + 1:
            return np.zeros((1, values.shape[1]))
        found = [seasonal_decompose(column, period=self.season).seasonal for column in values.T]
        return np.stack([each[: self.season] for each in found], axis=-1)

    def ahead(self, model: _Fitted, history: History) -> Ahead:
        """Filter the history with the parameters as they are, and forecast."""
        count = len(history.values)
        left = (history.values - _tiled(model.profile, 0, count)) / model.scale
        if model.moving_average:
            found = model.model.apply(left).get_forecast(self.horizon)
            mean, deviation = found.predicted_mean, found.se_mean
        else:
            lags = left[count - model.model.k_ar :]
            mean = model.model.forecast(lags, self.horizon)
            deviation = np.sqrt(np.diagonal(model.model.forecast_cov(self.horizon), 0, 1, 2))
        season = _tiled(model.profile, count, self.horizon)
        mean = mean * model.scale + season
        return Ahead(mean, normal_quantiles(mean, deviation * model.scale, self.levels))


def _tiled(profile: NDArray[np.float64], start: int, count: int) -> NDArray[np.float64]:
    tiled: NDArray[np.float64] = profile[(start + np.arange(count)) % len(profile)]
    return tiled


def _varma(values: NDArray[np.float64]) -> Any:  # noqa: ANN401 -- statsmodels has no types
    from statsmodels.tsa.statespace.varmax import VARMAX  # noqa: PLC0415  slow to import

    try:
        found = VARMAX(values, order=(1, 1), trend="c").fit(
            disp=False, maxiter=_ITERATIONS, cov_type="none"
        )
    except (np.linalg.LinAlgError, ValueError):  # no start, or a filter that breaks down
        return None
    return found if found.mle_retvals["converged"] else None


def _var(values: NDArray[np.float64]) -> Any:  # noqa: ANN401
    from statsmodels.tsa.vector_ar.var_model import VAR  # noqa: PLC0415  slow to import

    most = min(_LAGS, len(values) // (4 * values.shape[1]))
    return VAR(values).fit(maxlags=max(1, most), ic="aic" if most > 1 else None)
