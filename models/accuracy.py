"""
The measured accuracy on a card: per target, per step, and that of baselines.

These are documents only; ``models.scores`` computes them, for training and for serving.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import Field, FiniteFloat

from models.document import Document

SEASONAL_NAIVE = "seasonal_naive"  # the baseline that every card has

Column = tuple[FiniteFloat | None, ...]  # a number per step; null where nothing was observed


class BaselineAccuracy(Document):
    """
    Errors of one baseline on the same windows, as far as it has forecasts for them.

    ``mae_ratio`` is the model's MAE over the baseline's on those; below 1 the model is better.
    It is null where the baseline's MAE is 0.
    """

    mae: FiniteFloat
    rmse: FiniteFloat
    mae_ratio: FiniteFloat | None = None
    mae_by_step: Column = ()


class ByStep(Document):
    """Errors for each step of the horizon, the first step first."""

    mae: Column
    rmse: Column
    coverage: Column


class Spread(Document):
    """The distribution of the MAE of single windows: standard deviation and quantiles."""

    std: FiniteFloat
    p10: FiniteFloat
    p50: FiniteFloat
    p90: FiniteFloat


class Example(Document):
    """One held-out window for a picture: the end of its history, actuals and forecasts."""

    start: datetime  # of the first forecast step
    history: Column
    actuals: Column
    quantiles: tuple[Column, ...]  # one column a level of the card
    seasonal_naive: Column


class TargetAccuracy(Document):
    """
    Errors of one target on windows the network never saw, in the target's own units.

    ``mae`` is of the median and ``rmse`` of the mean forecast; ``weighted_quantile_loss`` is
    2 * sum(pinball) / sum(|actual|), averaged over the levels (GluonTS), null where every actual
    is zero; ``coverage`` is the share of actuals between the lowest and the highest level;
    ``mase`` is the absolute error over the mean |y(t) - y(t - season)| of the same series before
    the windows (Hyndman and Koehler, 2006), null where that is zero or unknown.
    """

    mae: FiniteFloat
    rmse: FiniteFloat
    weighted_quantile_loss: FiniteFloat | None = None
    coverage: FiniteFloat
    nominal_coverage: FiniteFloat
    mase: FiniteFloat | None = None
    spread: Spread | None = None
    by_step: ByStep | None = None
    baselines: Mapping[str, BaselineAccuracy] = Field(default_factory=dict)
    examples: tuple[Example, ...] = ()


class Accuracy(Document):
    """
    The held-out accuracy, beside baselines, seasonal naive among them.

    ``loses_to`` names the baselines with a lower MAE than the model, by the ratio averaged over
    the targets.
    """

    windows: Annotated[int, Field(ge=1)]
    season: Annotated[int, Field(ge=1)]
    start: datetime  # first forecast step that was held out
    end: datetime
    targets: Mapping[str, TargetAccuracy]
    loses_to: tuple[str, ...] = ()
