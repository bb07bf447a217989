"""Networks as contenders of the comparison: trained as by ``train``, but not published."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from training.architecture import Cell
from training.baselines import BASELINES, Forecast
from training.comparison import Contender
from training.data import Table
from training.pipeline import forecaster, learn, threads
from training.recipe import MEDIAN, Recipe
from training.windows import Rows, Split, Windows

KINDS = (*get_args(Cell), "attention")
# Options that belong to one kind of network only, by part of the recipe.
_OF_A_GRU = {"network": {"reset"}}
_CELLS = {"reset", "score", "local", "bidirectional", "layer_norm"}
_ATTENTION = {"causal", "positions", "readout"}
_OF_A_KIND = {
    "network": _CELLS | _ATTENTION | {"window", "stream"},
    "fit": {"truncate", "state_decay"},
}


class Network:
    """A recipe's network as a baseline: fitted on the same parts, forecasting the same windows."""

    pooled = True

    def __init__(
        self, recipe: Recipe, table: Table, parts: Split, *, checkpoints: Path, progress: bool
    ) -> None:
        self.name = recipe.network.kind
        self.recipe = recipe
        self.table = table
        self.parts = parts
        self.checkpoints = checkpoints
        self.progress = progress

    def fit(self, train: Windows, validation: Windows) -> None:
        """Train until the validation loss no longer improves."""
        parts = replace(self.parts, train=train, validation=validation)
        with threads(self.recipe):
            self.fitted = learn(
                self.recipe,
                self.table,
                parts,
                checkpoints=self.checkpoints,
                progress=self.progress,
            )

    def forecast(self, windows: Windows, rows: Rows) -> Forecast:
        """Forecast the windows in these rows, with the quantiles that the network has learnt."""
        with threads(self.recipe):
            batch = windows.batch(rows, windows.available(rows))
            quantiles = forecaster(self.fitted.network)(batch).astype(np.float64)
        return Forecast(quantiles[..., self.recipe.quantiles.index(MEDIAN)], quantiles)


def contenders(  # noqa: PLR0913  what runs on what, and how
    recipe: Recipe,
    table: Table,
    parts: Split,
    *,
    networks: Sequence[str],
    checkpoints: Path,
    progress: bool,
) -> Iterator[Contender]:
    """Yield the classical methods, then the networks, each as a name and how to make it."""
    for name, make in BASELINES.items():
        yield name, partial(make, recipe)
    for kind in networks:
        yield (
            kind,
            partial(
                _network, recipe, kind, table, parts, checkpoints=checkpoints, progress=progress
            ),
        )


def _network(  # noqa: PLR0913
    recipe: Recipe, kind: str, table: Table, parts: Split, *, checkpoints: Path, progress: bool
) -> Network:
    return Network(of_kind(recipe, kind), table, parts, checkpoints=checkpoints, progress=progress)


def of_kind(recipe: Recipe, kind: str) -> Recipe:
    """
    Return the recipe with another network of the same size; raise RecipeError.

    What only the recipe's own kind can have is left out of the others.
    """
    document = recipe.model_dump() | {"name": f"compare-{kind}"}
    if kind != recipe.network.kind:
        cells = "attention" not in (kind, recipe.network.kind)
        for part, names in (_OF_A_GRU if cells else _OF_A_KIND).items():
            kept = {name: value for name, value in document[part].items() if name not in names}
            document[part] = kept
        document["network"]["kind"] = kind
    return Recipe.build(document, f"the recipe with {kind}")
