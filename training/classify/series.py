"""Labelled series in parts, drawn by series and class; and their batches. Nothing is scaled."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.classify.data import Labelled
from training.classify.recipe import ClassifyRecipe
from training.epochs import Epochs
from training.errors import DataError
from training.recipe import FitRecipe
from training.windows import Rows

PARTS = 3


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the series of a table."""

    table: Labelled
    members: Rows  # indices into the table's series

    def __len__(self) -> int:
        return len(self.members)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each series, (series,)."""
        return self.table.labels[self.members]

    @property
    def series(self) -> list[NDArray[np.float32]]:
        """The series, each (time, columns)."""
        return [self.table.series[member] for member in self.members]

    def batch(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Return sequences (batch, time, columns), zeros right of each length, lengths, labels."""
        chosen = [self.table.series[member] for member in self.members[rows]]
        lengths = np.array([len(each) for each in chosen], dtype=np.int64)
        sequences = np.zeros((len(chosen), lengths.max(), chosen[0].shape[1]), dtype=np.float32)
        for place, each in zip(sequences, chosen, strict=True):
            place[: len(each)] = each
        arrays = sequences, lengths, self.labels[rows]
        first, second, third = (torch.from_numpy(array) for array in arrays)
        return first, second, third


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a table; no series is in two."""

    train: Part
    validation: Part
    test: Part

    @property
    def sizes(self) -> dict[str, int]:
        """The series of each part."""
        return {
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
        }


def split(table: Labelled, recipe: ClassifyRecipe) -> Parts:
    """
    Draw the parts by the recipe's seed, of each class its share and at least one series.

    Raises DataError for a class with fewer series than there are parts.
    """
    rng = np.random.default_rng((recipe.fit.seed, PARTS))
    train, validation, test = [], [], []
    for index, name in enumerate(table.classes):
        members = rng.permutation(np.flatnonzero(table.labels == index))
        count = len(members)
        if count < PARTS:
            raise DataError(
                table.source,
                f"the class {name!r} has {count} series, and each of training, validation and "
                "test needs one",
                column=recipe.data.label,
                advice="Add series of the class, or leave the class out.",
            )
        held = min(max(1, round(count * recipe.split.test)), count - 2)
        watched = min(max(1, round(count * recipe.split.validation)), count - 1 - held)
        test.append(members[:held])
        validation.append(members[held : held + watched])
        train.append(members[held + watched :])
    return Parts(*(Part(table, np.sort(np.concatenate(p))) for p in (train, validation, test)))


class SeriesBatches(Epochs):
    """The batches of a part: each (sequences, lengths, labels)."""

    def __init__(self, part: Part, recipe: FitRecipe, *, training: bool = True) -> None:
        super().__init__(len(part), recipe, training=training)
        self.part = part

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return self.part.batch(self.rows_of(index))
