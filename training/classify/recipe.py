"""A recipe of a classifier, and the one place that tells the tasks of recipes apart."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.document import Document
from training.architecture import NetworkRecipe
from training.errors import RecipeError
from training.recipe import FitRecipe, Recipe, TaskRecipe, read_document, repeated

Share = Annotated[float, Field(gt=0, lt=1)]


class LabelledData(Document):
    """A long table: one row per series and step, and one label per series."""

    source: str  # a .csv or .parquet path
    id: str  # names the series
    label: str  # the class, the same in every row of a series
    features: Annotated[tuple[str, ...], Field(min_length=1)]
    time: str | None = None  # orders the rows of a series; None: as they stand

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        named = [self.id, self.label, *self.features, *([self.time] if self.time else [])]
        if twice := repeated(named):
            raise ValueError(f"column {twice!r} is named twice among id, label, time and features")
        return self


class Shares(Document):
    """Which share of each class's series is held out; a series is in one part as a whole."""

    validation: Share = 0.15
    test: Share = 0.2

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave nothing to train on")
        return self


class ClassifierFit(FitRecipe):
    """The loop, for tables with far fewer series than others have windows."""

    epochs: Annotated[int, Field(ge=1)] = 100
    patience: Annotated[int, Field(ge=1)] = 15
    batch_size: Annotated[int, Field(ge=1)] = 16
    learning_rate: Annotated[float, Field(gt=0)] = 5e-3


class ClassifyRecipe(TaskRecipe):
    """All that decides a training run of a classifier."""

    task: Literal["classify"]
    max_length: Annotated[int, Field(ge=1)] | None = None  # None: the longest series of the table
    min_length: Annotated[int, Field(ge=1)] | None = None  # None: the shortest
    balanced: bool = False  # whether the loss counts all classes alike, however rare
    data: LabelledData
    split: Shares = Shares()
    network: NetworkRecipe = NetworkRecipe()
    fit: ClassifierFit = ClassifierFit()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.network.stream:
            raise ValueError("stream is for forecasts; a classifier answers whole rows")
        if self.network.normalisation != "auto":
            raise ValueError("normalisation is for forecasts; a classifier standardises columns")
        if self.network.linear_steps:
            raise ValueError("linear_steps is for forecasts")
        if self.network.channels != "joint":
            raise ValueError("channels = independent is for forecasts, one for each target")
        if self.min_length and self.max_length and self.min_length > self.max_length:
            raise ValueError("min_length must not exceed max_length")
        return self


def read_recipe(path: Path) -> Recipe | ClassifyRecipe:
    """Read the recipe of any task; one that names none is a forecaster's. Raise RecipeError."""
    document = read_document(path)
    task = document.get("task", "forecast")
    if task not in ("forecast", "classify"):
        raise RecipeError(f"{path}: task must be forecast or classify")
    return (ClassifyRecipe if task == "classify" else Recipe).build(document, str(path))
