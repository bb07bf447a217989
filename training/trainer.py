"""Build Lightning's trainer from a recipe: device, precision, early stop, progress."""

import sys
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    RichProgressBar,
    WeightAveraging,
)
from torch.optim.swa_utils import get_ema_avg_fn

from training.errors import TrainingError
from training.recipe import FitRecipe

MONITOR = "validation_loss"


def make_trainer(
    recipe: FitRecipe, kept: list[ModelCheckpoint], *, progress: bool
) -> lightning.Trainer:
    """Return a trainer that stops early and keeps checkpoints; raise TrainingError."""
    if recipe.accelerator == "gpu" and not torch.cuda.is_available():
        raise TrainingError(
            "The recipe asks for a GPU, and torch finds none.\n"
            "  Leave accelerator out, or install a torch with CUDA."
        )
    callbacks = [*kept, *_callbacks(recipe, progress=progress)]
    return lightning.Trainer(
        accelerator=recipe.accelerator,
        devices=recipe.devices,
        precision=_precision(recipe),
        max_epochs=recipe.epochs,
        callbacks=callbacks,
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(each, RichProgressBar) for each in callbacks),
        num_sanity_val_steps=0,
    )


class _Patience(EarlyStopping):
    """Early stopping that also holds after a resume, with the patience of the present recipe."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict | {"patience": self.patience})

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience


class _Lines(Callback):
    """One line an epoch, for logs and pipes."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            figures = {name: f"{value:.4f}" for name, value in trainer.callback_metrics.items()}
            line = "  ".join(f"{name} {figure}" for name, figure in figures.items())
            sys.stderr.write(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {line}\n")


def _callbacks(recipe: FitRecipe, *, progress: bool) -> list[Callback]:
    callbacks: list[Callback] = [_Patience(MONITOR, patience=recipe.patience)]
    if recipe.average is not None:  # Polyak and Juditsky, 1992, with exponential weights
        mean = get_ema_avg_fn(recipe.average)  # type: ignore[no-untyped-call]  # torch has no types
        callbacks.append(WeightAveraging(avg_fn=mean))
    if progress and sys.stderr.isatty():
        callbacks.append(RichProgressBar(console_kwargs={"stderr": True}))
    elif progress:
        callbacks.append(_Lines())
    return callbacks


def _precision(recipe: FitRecipe) -> Any:  # noqa: ANN401 -- Lightning's own union of literals
    if recipe.precision != "auto":
        return recipe.precision
    if recipe.accelerator == "cpu" or not torch.cuda.is_available():
        return "32-true"
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "16-mixed"
