"""Tables made from arrays, for what learns from a split of one."""

import numpy as np

from training.data import Series, Table
from training.recipe import Recipe
from training.windows import Split, split


def recipe(*, season=1, horizon=4, targets=("a",), known=(), window=12, **more) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "small",
            "horizon": horizon,
            "season": season,
            "max_length": window,
            "min_length": 1,
            "data": {
                "source": "none",
                "time": "ds",
                "targets": targets,
                "known": known,
                "frequency": "1h",
            },
        }
        | more
    )


def table(values, chosen: Recipe) -> Table:
    """Return a table of (steps, columns) or (steps,) values, or of a list of such series."""
    several = values if isinstance(values, list) else [values]
    series = []
    for number, each in enumerate(several):
        array = np.asarray(each, "f4")
        array = array[:, None] if array.ndim == 1 else array
        times = np.datetime64("2024-01-01", "us") + np.arange(len(array)) * np.timedelta64(1, "h")
        series.append(Series(str(number), times, array))
    rows = sum(len(each.times) for each in series)
    missing = any(np.isnan(each.values).any() for each in series)
    return Table("none", "0" * 64, rows, tuple(series), chosen.data.columns, missing)


def parts(values, chosen: Recipe) -> Split:
    return split(table(values, chosen), chosen)
