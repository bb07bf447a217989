"""One run, from a recipe to a published version: read, split, fit, measure, export, publish."""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.accuracy import Accuracy
from models.contract import ModelCard, Provenance
from models.fingerprint import sketch
from models.repository import Entry, Repository
from training.calibrate import calibrate
from training.data import Table, read_table
from training.export import write_model
from training.fit import Fitted, fit
from training.guard import guarded
from training.linear import solve_skip
from training.networks import Classifier, Forecaster, Scaling, build
from training.recipe import Recipe, Trained
from training.windows import Batch, Split, split, trained_on, training_part

SMALL = 128  # hidden units up to which one thread is the fastest
PACKAGES = (
    "seqserve",
    "torch",
    "pytorch-lightning",
    "onnx",
    "onnxscript",
    "onnxruntime-gpu",
    "numpy",
)


@dataclass(frozen=True, slots=True)
class Published:
    """What a run left behind."""

    entry: Entry
    card: ModelCard
    fitted: Fitted[Forecaster] | Fitted[Classifier]


def train(  # noqa: PLR0913  a run has this many choices
    recipe: Recipe,
    repository: Repository,
    *,
    checkpoints: Path,
    resume: bool = False,
    progress: bool = True,
    anyway: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Published:
    """
    Run a recipe and publish the model as the next version.

    A network that loses to a baseline, see ``guard``, is published only ``anyway``, and its
    card says so.  Raises TrainingError: RecipeError, DataError, Outperformed or ParityError.
    Nothing is published then.
    """
    table = read_table(recipe.data)
    recipe = decided(recipe, table)
    parts = split(table, recipe)
    say(
        f"{table.rows:,} rows of {len(table.series)} series; windows: {len(parts.train):,} to "
        f"train, {len(parts.validation):,} to validate, {len(parts.test):,} held out"
    )
    with threads(recipe):
        fitted = learn(
            recipe, table, parts, checkpoints=checkpoints, resume=resume, progress=progress
        )
        say(f"fitted in {fitted.epochs} epochs, {fitted.seconds:.0f} s; measuring")
        accuracy = guarded(recipe, parts, forecaster(fitted.network), anyway=anyway, say=say)
        card = _card(recipe, table, parts, fitted.network, accuracy)
        return publish(repository, fitted, card)


def learn(  # noqa: PLR0913  what to train on what, and how this run is kept
    recipe: Recipe,
    table: Table,
    parts: Split,
    *,
    checkpoints: Path,
    resume: bool = False,
    progress: bool = True,
) -> Fitted[Forecaster]:
    """Build a decided recipe's network, fit and calibrate it; see ``fit`` for what is raised."""
    scaling = Scaling.learn(training_part(table, parts.borders))
    if recipe.network.normalisation == "last":
        scaling = scaling.with_changes(parts.train.typical_change())
    torch.manual_seed(recipe.fit.seed)
    network = build(recipe, scaling, missing=table.missing)
    if (linear := recipe.network.linear) != "learnt":
        solve_skip(network, parts.train, parts.validation, trained=linear == "refined")
    fitted = fit(
        network,
        parts.train,
        parts.validation,
        recipe,
        checkpoints=checkpoints / recipe.name,
        resume=resume,
        progress=progress,
    )
    if recipe.fit.calibrate:
        calibrate(fitted.network, forecaster(fitted.network), parts.validation)
    return fitted


def decided(recipe: Recipe, table: Table) -> Recipe:
    """Return the recipe with normalisation "auto" replaced: "reversible" for several series."""
    if recipe.network.normalisation != "auto":
        return recipe
    kind = recipe.network.chosen
    if kind == "auto":
        kind = "reversible" if len(table.series) > 1 else "last"
    network = recipe.network.model_copy(update={"normalisation": kind})
    return recipe.model_copy(update={"network": network})


def publish(
    repository: Repository, fitted: Fitted[Forecaster] | Fitted[Classifier], card: ModelCard
) -> Published:
    """Export what was fitted and publish it as the next version; raise ParityError."""
    written: list[ModelCard] = []
    entry = repository.publish(
        card.name, lambda path: written.append(write_model(fitted.network, card, path))
    )
    return Published(entry, written[0], fitted)


@contextmanager
def threads(recipe: Trained) -> Iterator[None]:
    """
    Set torch's number of threads as the recipe says, by default 1 for a small network.

    The matrix products of a small network are too short to share among threads, which wait for
    each other at the end of each: on a busy machine that costs many times what it saves.
    """
    before = torch.get_num_threads()
    small = recipe.network.hidden <= SMALL
    torch.set_num_threads(recipe.fit.threads or (1 if small else before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def forecaster(network: Forecaster) -> Callable[[Batch], NDArray[np.float32]]:
    """Return a function that forecasts a batch, (batch, horizon, targets, quantiles)."""
    network = network.eval().cpu()

    @torch.inference_mode()
    def forecast(batch: Batch) -> NDArray[np.float32]:
        future = torch.from_numpy(batch.future) if batch.future.shape[-1] else None
        predictions, _ = network(
            torch.from_numpy(batch.sequences), torch.from_numpy(batch.lengths), future
        )
        answers: NDArray[np.float32] = predictions.numpy()
        return answers

    return forecast


def _card(
    recipe: Recipe, table: Table, parts: Split, network: Forecaster, accuracy: Accuracy
) -> ModelCard:
    shortest, longest = recipe.lengths
    return ModelCard(
        name=recipe.name,
        description=recipe.description,
        features=table.columns,
        targets=recipe.data.targets,
        known=recipe.data.ahead,
        calendar=recipe.data.calendar,
        static=table.static,
        horizon=recipe.horizon,
        quantiles=recipe.quantiles,
        frequency=recipe.data.frequency,
        min_length=shortest,
        max_length=longest,
        missing_values=table.missing,
        attention=network.attends,
        exact=network.exact,
        units=recipe.data.units,
        accuracy=accuracy,
        provenance=Provenance(
            data_sha256=table.sha256,
            rows=table.rows,
            series=len(table.series),
            split=parts.borders,
            seed=recipe.fit.seed,
            recipe=_portable(recipe).describe(),
            versions=versions(),
            parity_error=0.0,  # measured, and written, by the export
            created=datetime.now(UTC).replace(microsecond=0),
            fingerprint=sketch(trained_on(table, parts)),
        ),
    )


def _portable(recipe: Recipe) -> Recipe:
    """Return the recipe with its source without the folder, which is of this machine alone."""
    data = recipe.data.model_copy(update={"source": portable_source(recipe.data.source)})
    return recipe.model_copy(update={"data": data})


def portable_source(source: str) -> str:
    """Name a source without its folder."""
    return source if source.startswith("statsmodels:") else Path(source).name


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that take part in a run."""
    return {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}}
