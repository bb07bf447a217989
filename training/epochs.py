"""Assign rows to the batches of each epoch; knows nothing of what a row is."""

import math

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from training.recipe import FitRecipe
from training.windows import Rows


class Epochs(Dataset[tuple[Tensor, ...]]):
    """The batches of one epoch, as row numbers below ``total``, shuffled by (seed, epoch)."""

    def __init__(self, total: int, recipe: FitRecipe, *, training: bool) -> None:
        self.total = total
        self.training = training
        self.size = recipe.batch_size
        self.seed = recipe.seed
        limit = recipe.windows_per_epoch if training else None
        self.count = min(total, limit or total)
        self.start(0)

    def start(self, epoch: int) -> None:
        """Shuffle the rows for an epoch, if this is for training."""
        self.epoch = epoch
        self.rows = np.arange(self.total)
        if self.training:
            self.rows = np.random.default_rng((self.seed, epoch)).permutation(self.rows)

    def __len__(self) -> int:
        return math.ceil(self.count / self.size)

    def rows_of(self, index: int) -> Rows:
        """Return the rows of a batch; raise IndexError beyond the last."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.rows[index * self.size : min((index + 1) * self.size, self.count)]
