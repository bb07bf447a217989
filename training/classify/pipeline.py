"""One run of a classifier: read, split, fit, calibrate, measure, export, publish."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.classification import MAJORITY, NEAREST, ClassificationAccuracy
from models.contract import ModelCard, Provenance, Task
from models.repository import Repository
from training.classify.calibration import best_temperature
from training.classify.data import Labelled, read_labelled
from training.classify.evaluate import logits_of, measure
from training.classify.recipe import ClassifyRecipe
from training.classify.series import Part, Parts, SeriesBatches, split
from training.errors import RecipeError
from training.fit import Loop, run
from training.guard import refuse
from training.networks import Classifier, Scaling, build_classifier
from training.pipeline import Published, portable_source, publish, threads, versions
from training.recipe import check_trainable


class ClassifierLoop(Loop[Classifier]):
    """A classifier and its loss."""

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Return the cross entropy of (sequences, lengths, labels)."""
        sequences, lengths, labels = batch
        return self.network.loss(sequences, lengths, labels)


def train(  # noqa: PLR0913  a run has this many choices
    recipe: ClassifyRecipe,
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

    A classifier that is wrong more often than a method beside it is published only ``anyway``.
    Raises TrainingError: RecipeError, DataError, Outperformed or ParityError.  Nothing is
    published then.
    """
    table = read_labelled(recipe.data)
    lengths = _lengths(recipe, table)
    parts = split(table, recipe)
    say(
        f"{table.rows:,} rows of {len(table.series):,} series in {len(table.classes)} classes: "
        f"{len(parts.train):,} to train, {len(parts.validation):,} to validate, "
        f"{len(parts.test):,} held out"
    )
    scaling = Scaling.learn(np.concatenate(parts.train.series))
    torch.manual_seed(recipe.fit.seed)
    network = build_classifier(
        recipe,
        scaling,
        len(table.classes),
        lengths[1],
        missing=table.missing,
        weights=_weights(parts.train) if recipe.balanced else None,
    )
    with threads(recipe):
        fitted = run(
            ClassifierLoop(network, SeriesBatches(parts.train, recipe.fit), recipe),
            SeriesBatches(parts.validation, recipe.fit, training=False),
            recipe,
            checkpoints=checkpoints / recipe.name,
            resume=resume,
            progress=progress,
        )
        say(f"fitted in {fitted.epochs} epochs, {fitted.seconds:.0f} s; calibrating and measuring")
        network = fitted.network
        if recipe.fit.calibrate:
            logits = logits_of(network, parts.validation)
            network.head.calibrate(best_temperature(logits, parts.validation.labels))
        accuracy = measure(network, parts, scaling)
        _guard(recipe, accuracy, anyway=anyway, say=say)
        card = _card(recipe, lengths, table, parts, accuracy)
        return publish(repository, fitted, card)


def _guard(
    recipe: ClassifyRecipe,
    accuracy: ClassificationAccuracy,
    *,
    anyway: bool,
    say: Callable[[str], None],
) -> None:
    """
    Raise Outperformed, unless ``anyway``, where a method beside it is wrong less often.

    A balanced loss trades right answers in the most frequent class for those in rare ones, so
    always naming that class is no measure of it.
    """
    of = {MAJORITY: accuracy.majority_accuracy, NEAREST: accuracy.nearest_accuracy}
    lost = {
        name: (1 - accuracy.accuracy) / (1 - of[name]) if of[name] < 1 else float("inf")
        for name in accuracy.loses_to
        if not (recipe.balanced and name == MAJORITY)
    }
    refuse(recipe.name, lost, anyway=anyway, say=say)


def _lengths(recipe: ClassifyRecipe, table: Labelled) -> tuple[int, int]:
    """Return the fewest and the most steps; raise RecipeError where a series does not fit."""
    shortest, longest = table.lengths
    least, most = recipe.min_length or shortest, recipe.max_length or longest
    if not least <= shortest <= longest <= most:
        raise RecipeError(
            f"The series have {shortest} to {longest} steps, and {least} to {most} are allowed.\n"
            "  Change min_length or max_length (--window), or cut the series."
        )
    try:
        check_trainable(recipe, most)
    except ValueError as exc:
        raise RecipeError(f"{recipe.name}: {exc}") from exc
    return least, most


def _weights(part: Part) -> Tensor:
    """Return class weights, (classes,), by which all count alike; 1 on average over series."""
    counts = np.bincount(part.labels, minlength=len(part.table.classes))
    return torch.tensor(len(part) / (len(counts) * counts), dtype=torch.float32)


def _card(
    recipe: ClassifyRecipe,
    lengths: tuple[int, int],
    table: Labelled,
    parts: Parts,
    accuracy: ClassificationAccuracy,
) -> ModelCard:
    data = recipe.data.model_copy(update={"source": portable_source(recipe.data.source)})
    return ModelCard(
        name=recipe.name,
        task=Task.CLASSIFY,
        description=recipe.description,
        features=recipe.data.features,
        classes=table.classes,
        min_length=lengths[0],
        max_length=lengths[1],
        missing_values=table.missing,
        accuracy=accuracy,
        provenance=Provenance(
            data_sha256=table.sha256,
            rows=table.rows,
            series=len(table.series),
            split=parts.sizes,
            seed=recipe.fit.seed,
            recipe=recipe.model_copy(update={"data": data}).describe(),
            versions=versions(),
            parity_error=0.0,  # measured, and written, by the export
            created=datetime.now(UTC).replace(microsecond=0),
        ),
    )
