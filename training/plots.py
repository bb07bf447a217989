"""A comparison as pictures: forecast fans, error by horizon, calibration; PNG by matplotlib."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.comparison import Comparison, Outcome
from training.standings import ranked

_ORIGINS = 3  # fans of each contender
_FANS = 3  # targets that get a picture of fans


def draw(comparison: Comparison, folder: Path) -> list[str]:
    """Write the pictures into the folder and return their names; none without a forecast."""
    if all(each.absent for each in comparison.outcomes):
        return []
    fans = min(_FANS, len(comparison.recipe.data.targets))
    names = [f"fans-{number + 1}.png" for number in range(fans)]
    for number, name in enumerate(names):
        _fans(comparison, number, folder / name)
    _by_step(comparison, folder / "error-by-horizon.png")
    _calibration(comparison, folder / "calibration.png")
    return [*names, "error-by-horizon.png", "calibration.png"]


def _fans(comparison: Comparison, target: int, path: Path) -> None:
    """Draw each contender's fan from the same few origins, one contender a row."""
    windows, outcomes = comparison.windows, ranked(comparison, target)
    rows = np.unique(np.linspace(0, len(windows) - 1, _ORIGINS).round().astype(int))
    size = (4 * len(rows), 1.9 * len(outcomes))
    with _figure(path, len(outcomes), len(rows), size, shared="col") as axes:
        for line, outcome in zip(axes, outcomes, strict=True):
            for axis, row in zip(line, rows, strict=True):
                _fan(axis, comparison, outcome, int(row), target)
            line[0].set_ylabel(outcome.name, fontsize=8)
        for axis, row in zip(axes[0], rows, strict=True):
            axis.set_title(f"from {windows.clock[windows.origins[row]]!s:.16}", fontsize=9)


def _fan(axis: Any, comparison: Comparison, outcome: Outcome, row: int, target: int) -> None:  # noqa: ANN401 -- matplotlib's axes
    windows, forecast = comparison.windows, outcome.forecast
    if forecast is None or forecast.quantiles is None:
        raise ValueError("There is no fan to draw.")
    origin, first = int(windows.origins[row]), int(windows.first[row])
    past = max(first, origin + 1 - max(2 * windows.horizon, 24))
    history = windows.values[past : origin + 1, target]
    ahead = np.arange(1, windows.horizon + 1)
    axis.plot(np.arange(1 - len(history), 1), history, color="0.4", linewidth=0.8)
    axis.plot(ahead, comparison.actuals[row, :, target], color="black", linewidth=1.2)
    quantiles = forecast.quantiles[row, :, target]  # (horizon, levels)
    for low in range(quantiles.shape[1] // 2):
        axis.fill_between(ahead, quantiles[:, low], quantiles[:, -1 - low], color="C0", alpha=0.2)
    axis.plot(ahead, forecast.points[row, :, target], color="C0", linewidth=1.2)
    axis.tick_params(labelsize=7)


def _by_step(comparison: Comparison, path: Path) -> None:
    targets = comparison.recipe.data.targets
    with _figure(path, len(targets), 1, (9, 4 * len(targets))) as axes:
        for number, target in enumerate(targets):
            axis = axes[number][0]
            for place, outcome in enumerate(ranked(comparison, number)):
                found = outcome.scores[number].by_step
                steps = [] if found is None else found.mae
                axis.plot(
                    np.arange(1, len(steps) + 1),
                    [np.nan if each is None else each for each in steps],
                    label=outcome.name,
                    color=f"C{place % 10}",
                    linestyle="-" if place < 10 else "--",  # noqa: PLR2004  colours there are
                    marker="." if len(steps) == 1 else None,
                )
            unit = comparison.recipe.data.units.get(target, "")
            axis.set(xlabel="steps ahead", ylabel=f"mean absolute error {unit}", title=target)
            axis.legend(fontsize=7)


def _calibration(comparison: Comparison, path: Path) -> None:
    """Draw the share of actuals below each quantile against what it should be."""
    targets, levels = comparison.recipe.data.targets, comparison.recipe.quantiles
    with _figure(path, len(targets), 1, (6, 5.5 * len(targets))) as axes:
        for number, target in enumerate(targets):
            axis = axes[number][0]
            axis.plot([0, 1], [0, 1], color="0.7")
            for place, outcome in enumerate(ranked(comparison, number)):
                observed = _observed(comparison, outcome, number)
                axis.plot(levels, observed, marker=".", label=outcome.name, color=f"C{place % 10}")
            axis.set(xlabel="level", ylabel="share of actuals at or below", title=target)
            axis.legend(fontsize=7)


def _observed(comparison: Comparison, outcome: Outcome, target: int) -> NDArray[np.float64]:
    """Return (levels,): the share of actuals at or below each quantile."""
    if outcome.forecast is None or outcome.forecast.quantiles is None:
        raise ValueError("There are no quantiles to hold against the actuals.")
    actuals = comparison.actuals[..., target]
    below = actuals[..., None] <= outcome.forecast.quantiles[:, :, target]
    shares: NDArray[np.float64] = below[np.isfinite(actuals)].mean(axis=0)
    return shares


@contextmanager
def _figure(
    path: Path,
    rows: int,
    columns: int,
    size: tuple[float, float],
    shared: Literal["none", "col"] = "none",
) -> Iterator[Any]:
    """Give the axes (rows, columns) of a figure that is saved afterwards; no window opens."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    yield figure.subplots(rows, columns, sharex=shared, sharey=shared, squeeze=False)
    figure.savefig(path, dpi=110)
