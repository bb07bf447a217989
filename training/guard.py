"""Compare a trained network with simple baselines before it is published."""

from collections.abc import Callable, Mapping

import numpy as np

from models.accuracy import SEASONAL_NAIVE, Accuracy
from training.baselines import Baseline, DoesNotApply, Ridge
from training.errors import Outperformed
from training.evaluate import BaselineFunction, ForecastFunction, measure
from training.recipe import Recipe
from training.windows import Split

RIDGE = "ridge"
_WORDS = {SEASONAL_NAIVE: "seasonal naive", RIDGE: "ridge"}


def guarded(
    recipe: Recipe,
    parts: Split,
    forecaster: ForecastFunction,
    *,
    anyway: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Accuracy:
    """
    Measure a network, seasonal naive and ridge on the test part.

    Raises Outperformed for a network whose MAE, as a ratio to a baseline's averaged over the
    targets, is above 1.  With ``anyway`` it is returned, and names the baselines in ``loses_to``.
    """
    accuracy = measure(parts.test, forecaster, recipe, baselines=_ridge(recipe, parts, say))
    lost = {_WORDS[name]: _ratio(accuracy, name) for name in accuracy.loses_to}
    refuse(recipe.name, lost, anyway=anyway, say=say)
    return accuracy


def refuse(
    name: str, lost: Mapping[str, float], *, anyway: bool, say: Callable[[str], None]
) -> None:
    """Raise Outperformed for baselines (name -> ratio) that are better; ``anyway`` only say so."""
    if lost and not anyway:
        raise Outperformed(name, lost)
    for baseline, ratio in lost.items():
        say(f"it loses to {baseline}, by an error {ratio:.4g} times as large; the card says so")


def _ridge(
    recipe: Recipe, parts: Split, say: Callable[[str], None]
) -> Mapping[str, BaselineFunction]:
    ridge: Baseline = Ridge(recipe)
    try:
        ridge.fit(parts.train, parts.validation)
    except DoesNotApply as exc:
        say(f"not held against ridge: {exc}")
        return {}
    return {RIDGE: lambda windows, rows: ridge.forecast(windows, rows).points.astype(np.float32)}


def _ratio(accuracy: Accuracy, name: str) -> float:
    """Return the mean over targets; infinite where only the baseline makes no error."""
    found = [each.baselines[name].mae_ratio for each in accuracy.targets.values()]
    return float(np.mean([np.inf if ratio is None else ratio for ratio in found]))
