"""The classical methods a network is compared with, one family per file."""

from collections.abc import Callable

from training.baselines.arima import Arima, Arimax, HoltWinters
from training.baselines.forecast import Baseline, DoesNotApply, Forecast
from training.baselines.markov import HiddenMarkov
from training.baselines.naive import SeasonalNaive, seasonal_naive
from training.baselines.neighbours import Neighbours
from training.baselines.ridge import Ridge
from training.baselines.varma import Varma
from training.recipe import Recipe

__all__ = [
    "BASELINES",
    "Baseline",
    "DoesNotApply",
    "Forecast",
    "Ridge",
    "SeasonalNaive",
    "seasonal_naive",
]

# Each may raise DoesNotApply when it is made.
BASELINES: dict[str, Callable[[Recipe], Baseline]] = {
    each.name: each
    for each in (
        SeasonalNaive,
        Ridge,
        Neighbours,
        Arima,
        Arimax,
        HoltWinters,
        Varma,
        HiddenMarkov,
    )
}
