"""Decide whether a run can resume from a checkpoint."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from training.errors import TrainingError
from training.recipe import Trained

RECIPE = "recipe"  # the key of the recipe in a checkpoint
_FREE: dict[str, Any] = {  # what may differ between a run and one that resumes it
    "description": True,
    "task": True,
    "data": {"source", "units"},
    "fit": {"epochs", "patience", "threads", "accelerator", "devices", "precision"},
}


def identity(recipe: Trained) -> str:
    """Return, as JSON, the part of a recipe that weights and optimiser state depend on."""
    return recipe.model_dump_json(exclude=_FREE)


def resumable(path: Path, recipe: Trained) -> Path:
    """Return the checkpoint's path; raise TrainingError if this recipe cannot resume from it."""
    if not zipfile.is_zipfile(path):  # torch.load of anything else fails in any way it likes
        raise TrainingError(
            f"{path}: is not a whole checkpoint\n  Leave out --resume to train anew."
        )
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if saved.get(RECIPE) != identity(recipe):
        raise TrainingError(
            f"{path}: was made by another recipe\n"
            "  Leave out --resume to train anew, or give the recipe as it was."
        )
    if saved["epoch"] > recipe.fit.epochs:
        raise TrainingError(
            f"{path}: comes after {saved['epoch']} epochs, the recipe wants {recipe.fit.epochs}\n"
            "  Raise epochs, or leave out --resume to train anew."
        )
    return path
