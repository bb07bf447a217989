"""The training loop: what Lightning runs as a step and an epoch, and which weights are kept."""

import logging
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from training.checkpoint import RECIPE, identity, resumable
from training.clipping import clip
from training.denormals import flushed
from training.epochs import Epochs
from training.errors import TrainingError
from training.networks.forecaster import Forecaster
from training.networks.recurrent import Recurrent
from training.quiet import quiet
from training.recipe import Recipe, Trained
from training.trainer import MONITOR, make_trainer
from training.windows import Windows

Network = TypeVar("Network", bound=nn.Module)

_LAST = "last.ckpt"
_LOGGERS = ("pytorch_lightning", "lightning_fabric")
_ADVICE = (  # warnings that do not apply to these loaders
    ".*does not have many workers.*",  # batches are slices of arrays: workers only copy
    ".*Checkpoint directory .* exists and is not empty.*",  # its files are replaced
    ".*GPU available but not used.*",
    ".*smaller than the logging interval.*",
    ".*treespec, LeafSpec.*is deprecated.*",  # between Lightning and torch
)
_SHORTENED = 1 / 3  # share of the training batches whose rows get shorter lengths
_WARM_UP = 0.05  # share of the steps in which the rate rises


@dataclass(frozen=True, slots=True)
class Fitted(Generic[Network]):
    """The result of a run."""

    network: Network  # with its best weights, on the CPU, in eval mode
    epochs: int
    validation_loss: float  # of the best epoch, in units of the scale
    seconds: float


def fit(  # noqa: PLR0913 -- what to train on what, and how this run is kept
    network: Forecaster,
    train: Windows,
    validation: Windows,
    recipe: Recipe,
    *,
    checkpoints: Path,
    resume: bool = False,
    progress: bool = True,
) -> Fitted[Forecaster]:
    """Train a forecaster on windows; see ``run``."""
    module = ForecasterLoop(network, Batches(train, recipe), recipe)
    watched = Batches(validation, recipe, training=False)
    return run(module, watched, recipe, checkpoints=checkpoints, resume=resume, progress=progress)


def run(  # noqa: PLR0913 -- as above
    module: "Loop[Network]",
    validation: Epochs,
    recipe: Trained,
    *,
    checkpoints: Path,
    resume: bool = False,
    progress: bool = True,
) -> Fitted[Network]:
    """
    Train until the validation loss has not improved for ``patience`` epochs.

    The same recipe, data and initial weights give the same weights again.  ``best.ckpt`` and
    ``last.ckpt`` are written to ``checkpoints``; with ``resume`` a run goes on after its last
    whole epoch as if it had not stopped.  Raises TrainingError when no epoch had a finite
    validation loss, and for a checkpoint that is broken or of another recipe.
    """
    started = time.monotonic()
    best = ModelCheckpoint(
        checkpoints, filename="best", monitor=MONITOR, enable_version_counter=False
    )
    # After ``best``, whose state it holds; save_last would keep only the epochs that are better.
    every = ModelCheckpoint(checkpoints, filename="last", enable_version_counter=False)
    last = checkpoints / _LAST
    with quiet(_LOGGERS, logging.WARNING, _ADVICE), flushed():
        lightning.seed_everything(recipe.fit.seed, workers=True, verbose=False)
        trainer = make_trainer(recipe.fit, [best, every], progress=progress)
        trainer.fit(
            module,
            DataLoader(module.batches, batch_size=None),
            DataLoader(validation, batch_size=None),
            ckpt_path=resumable(last, recipe) if resume and last.is_file() else None,
        )
    if not trainer.is_global_zero:
        sys.exit()  # the others of a run on many devices have done their part: one publishes
    loss = _take_best(module, best)
    return Fitted(
        module.network.cpu().eval(), trainer.current_epoch, loss, time.monotonic() - started
    )


def _take_best(module: "Loop[Network]", best: ModelCheckpoint) -> float:
    """Load the best epoch's weights, and return its validation loss."""
    loss = best.best_model_score
    if loss is None or not math.isfinite(loss):
        raise TrainingError(
            "The validation loss was never finite.\n  Lower learning_rate or clip_norm."
        )
    saved = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(saved["state_dict"])
    return float(loss)


class Batches(Epochs):
    """
    Batches of windows, each (sequences, lengths, future, actuals).

    They depend on (seed, epoch) alone.  In a third of the training batches the rows are cut to
    random shorter lengths, so that the network learns to forecast from short rows as well.
    """

    def __init__(self, windows: Windows, recipe: Recipe, *, training: bool = True) -> None:
        super().__init__(len(windows), recipe.fit, training=training)
        self.windows = windows
        self.shortest = recipe.lengths[0]

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        rows = self.rows_of(index)
        lengths = self.windows.available(rows)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        if self.training and rng.random() < _SHORTENED:
            lengths = rng.integers(np.minimum(self.shortest, lengths), lengths, endpoint=True)
        batch = self.windows.batch(rows, lengths)
        arrays = batch.sequences, batch.lengths, batch.future, batch.actuals
        return tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)


class Loop(lightning.LightningModule, Generic[Network]):
    """A network with its optimiser and gradient clipping; a subclass defines the loss."""

    def __init__(self, network: Network, batches: Epochs, recipe: Trained) -> None:
        super().__init__()
        self.network = network
        self.batches = batches
        self.recipe = recipe.fit
        self.identity = identity(recipe)

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Return the loss of a batch."""
        raise NotImplementedError

    def observed(self, batch: tuple[Tensor, ...]) -> int:
        """Return the number of values that the loss of a batch is the mean of."""
        return len(batch[0])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[RECIPE] = self.identity

    def on_train_epoch_start(self) -> None:
        self.batches.start(self.current_epoch)

    def on_train_batch_start(self, _batch: tuple[Tensor, ...], _index: int) -> None:
        # So that dropout is the same after a resume: starting a loader draws from this generator.
        torch.manual_seed(self.recipe.seed + self.global_step)

    def training_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
        loss = self.loss(batch)
        reader = self.network.reader
        if isinstance(reader, Recurrent) and (energy := reader.take_energy()) is not None:
            loss = loss + self.recipe.state_decay * energy
        size = len(batch[0])
        self.log(
            "loss",
            loss,
            prog_bar=True,
            on_step=False,
            on_epoch=True,
            batch_size=size,
            sync_dist=True,
        )
        return loss

    def validation_step(self, batch: tuple[Tensor, ...], _: int) -> None:
        size = self.observed(batch)
        self.log(MONITOR, self.loss(batch), prog_bar=True, batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 -- Lightning's own union
        """Return AdamW, and a linear warm-up times a cosine to zero over all epochs, per step."""
        optimizer = torch.optim.AdamW(
            self.parameters(), self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )
        total = int(self.trainer.estimated_stepping_batches)
        warm_up = max(1, round(_WARM_UP * total))

        def rate(step: int) -> float:
            cosine = 0.5 * (1 + math.cos(math.pi * min(step / total, 1)))
            return min(1.0, (step + 1) / warm_up) * cosine

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by every rule of the recipe; Lightning itself supports only one."""
        del optimizer, gradient_clip_val, gradient_clip_algorithm
        clip(self.parameters(), self.recipe)


class ForecasterLoop(Loop[Forecaster]):
    """A forecaster and its loss."""

    def __init__(self, network: Forecaster, batches: Batches, recipe: Recipe) -> None:
        super().__init__(network, batches, recipe)
        self.known = bool(recipe.data.ahead)

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        sequences, lengths, future, actuals = batch
        return self.network.loss(sequences, lengths, future if self.known else None, actuals)

    def observed(self, batch: tuple[Tensor, ...]) -> int:
        return int((~batch[3].isnan()).sum())
