"""Recipes: everything that determines a training run, as a TOML document."""

import os
import re
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from models.calendar import Cycle, cycle_columns, stands_still
from models.contract import NAME_PATTERN
from models.document import Document, faults
from models.frequency import Frequency
from training.architecture import FURTHEST, NetworkRecipe
from training.errors import RecipeError

MEDIAN = 0.5


def _zoned(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _border(border: float | datetime) -> float | datetime:
    if isinstance(border, datetime):
        return _zoned(border)
    if not 0 < border < 1:
        raise ValueError("must be a share between 0 and 1, or a time")
    return border


def _frequency(text: str) -> str:
    return str(Frequency.parse(text))


# Left to right, so that a number is never read as seconds since 1970.
Border = Annotated[float | datetime, Field(union_mode="left_to_right"), AfterValidator(_border)]


class DataRecipe(Document):
    """A long table: one row per series and time."""

    source: str  # a .csv or .parquet path, or statsmodels:co2, statsmodels:elnino
    time: str
    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    id: str | None = None
    features: tuple[str, ...] = ()  # past covariates
    known: tuple[str, ...] = ()  # covariates known ahead
    calendar: tuple[Cycle, ...] = ()  # known covariates made from the times
    static: tuple[str, ...] = ()  # columns that have one value in each series
    frequency: Annotated[str, AfterValidator(_frequency)]
    fill: Literal["none", "missing", "previous", "linear"] = "none"  # what to do about gaps
    units: dict[str, str] = Field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns read at every step: targets, past covariates, known covariates."""
        return self.targets + self.features + self.known

    @property
    def ahead(self) -> tuple[str, ...]:
        """The covariates known ahead: those of the table, then those of the calendar."""
        return self.known + cycle_columns(self.calendar)

    @model_validator(mode="after")
    def _check_covariates(self) -> Self:
        if self.static and self.id is None:
            raise ValueError("static columns tell series apart; name the series' column with id")
        for cycle in self.calendar:
            if stands_still(cycle, Frequency.parse(self.frequency)):
                raise ValueError(f"calendar: {cycle} is the same at every step of {self.frequency}")
        return self


def repeated(columns: Sequence[str]) -> str | None:
    """Return the first column that is named again, if there is one."""
    return next((each for place, each in enumerate(columns) if each in columns[:place]), None)


class SplitRecipe(Document):
    """Where the time line is cut: each part by its share of the time, or by its first time."""

    validation: Border = 0.1  # share of the time line, or the first time of the part
    test: Border = 0.1
    end: Annotated[datetime, AfterValidator(_zoned)] | None = None  # from here on nothing is used


class FitRecipe(Document):
    """The training loop."""

    epochs: Annotated[int, Field(ge=1)] = 30
    patience: Annotated[int, Field(ge=1)] = 5  # epochs without a better validation loss
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    state_decay: Annotated[float, Field(ge=0)] = 0.0  # cells: times the mean of c^2 (LSTM) or h^2
    truncate: Annotated[int, Field(ge=1)] | None = None  # cells: steps a gradient goes back
    # Decay of an exponential moving average of the weights, which is then measured and published.
    average: Annotated[float, Field(gt=0, lt=1)] | None = None
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    clip_value: Annotated[float, Field(gt=0)] | None = None
    clip_scaled: Annotated[float, Field(gt=0)] | None = None  # by value, then the largest to 1
    windows_per_epoch: Annotated[int, Field(ge=1)] | None = None  # None: every window once
    calibrate: bool = True  # quantiles or classes, on the validation part
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = "auto"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    threads: Annotated[int, Field(ge=1)] | None = None  # on CPU; None: 1 up to 128 hidden, else all
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="before")
    @classmethod
    def _drop_default_norm(cls, given: object) -> object:
        """Switch the default clip_norm off if clip_scaled is given."""
        if isinstance(given, dict) and given.get("clip_scaled") is not None:
            return {"clip_norm": None} | given
        return given

    @model_validator(mode="after")
    def _check_clipping(self) -> Self:
        if self.clip_scaled is not None and self.clip_value is not None:
            raise ValueError("clip_scaled bounds each value already, leave clip_value out")
        return self


class Trained(Protocol):
    """What the training loop needs of a recipe of any task."""

    @property
    def fit(self) -> FitRecipe:
        """How to train."""

    @property
    def network(self) -> NetworkRecipe:
        """What to train."""

    def model_dump_json(self, *, exclude: Any = None) -> str:  # noqa: ANN401 -- as pydantic has it
        """Return the recipe as JSON, without some of its fields."""


def check_memory(network: NetworkRecipe, longest: int) -> None:
    """Raise ValueError where running statistics of so many steps would overflow."""
    memory = network.remembered(longest)
    if network.chosen == "running" and longest > FURTHEST * memory:
        raise ValueError(
            f"memory = {memory} is too short for {longest} steps, take {-(-longest // FURTHEST)}"
        )


def check_trainable(recipe: Trained, longest: int) -> None:
    """Raise ValueError for an option of the loop that does not fit the network or its length."""
    network, fit = recipe.network, recipe.fit
    rules = {"truncate": fit.truncate, "state_decay": fit.state_decay}
    given = [name for name, value in rules.items() if value]
    if given and network.kind == "attention":
        raise ValueError(f"fit.{given[0]} is for gru, lstm and rnn, attention has no state")
    if fit.truncate is not None:
        if network.bidirectional:
            raise ValueError("fit.truncate has no end to count from in a bidirectional network")
        if fit.truncate >= longest:
            raise ValueError(f"fit.truncate cuts nothing unless below max_length, {longest}")


class TaskRecipe(Document):
    """What recipes of all tasks share: how they are read, and written into a card."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    description: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a TOML file; a relative source is relative to it. Raise RecipeError."""
        return cls.build(read_document(path), str(path))

    @classmethod
    def build(cls, document: object, origin: str) -> Self:
        """Validate a document; raise RecipeError naming each wrong key."""
        try:
            return cls.model_validate(document)
        except ValidationError as exc:
            problems = "\n".join(
                f"  {fault.place or 'recipe'}: {fault.words}" for fault in faults(exc)
            )
            raise RecipeError(f"{origin}: the recipe cannot be used\n{problems}") from exc

    def describe(self) -> str:
        """Return the recipe as JSON, for the card."""
        return self.model_dump_json(exclude_defaults=True)


class Recipe(TaskRecipe):
    """All that decides a training run of a forecaster."""

    horizon: Annotated[int, Field(ge=1)]
    max_length: Annotated[int, Field(ge=1)] | None = None  # None: twice the season or the horizon
    min_length: Annotated[int, Field(ge=1)] | None = None  # None: a quarter of max_length
    season: Annotated[int, Field(ge=1)] | None = None  # None: what the frequency implies
    quantiles: Annotated[tuple[float, ...], Field(min_length=1)] = (0.1, 0.5, 0.9)
    # Weights of the targets in the loss: equal, or their scale, as in errors in the data's units.
    target_weights: Literal["equal", "scale"] = "equal"
    data: DataRecipe
    split: SplitRecipe = SplitRecipe()
    network: NetworkRecipe = NetworkRecipe()
    fit: FitRecipe = FitRecipe()
    task: Literal["forecast"] = "forecast"

    @model_validator(mode="after")
    def _check(self) -> Self:
        columns = self.data.targets + self.data.features + self.data.static + self.data.ahead
        if twice := repeated(columns):
            raise ValueError(
                f"column {twice!r} is named twice among targets, features, known, calendar and"
                " static"
            )
        if unknown := set(self.data.units) - set(self.data.targets):
            raise ValueError(f"units names no target with {', '.join(sorted(unknown))}")
        if sorted(set(self.quantiles)) != list(self.quantiles) or MEDIAN not in self.quantiles:
            raise ValueError("quantiles must increase and hold 0.5")
        if not all(0 < level < 1 for level in self.quantiles):
            raise ValueError("quantiles must lie between 0 and 1")
        if self.lengths[0] > self.lengths[1]:
            raise ValueError("min_length must not exceed max_length")
        return self

    @model_validator(mode="after")
    def _check_trainable(self) -> Self:
        check_trainable(self, self.lengths[1])
        check_memory(self.network, self.lengths[1])
        return self

    @property
    def seasonality(self) -> int:
        """The season in steps, given or implied by the frequency."""
        return self.season or Frequency.parse(self.data.frequency).season

    @property
    def lengths(self) -> tuple[int, int]:
        """The shortest and the longest window, in steps."""
        longest = self.max_length or 2 * max(self.seasonality, self.horizon)
        return self.min_length or max(1, longest // 4), longest


def read_document(path: Path) -> dict[str, Any]:
    """Read a TOML file and resolve its source, whatever the task. Raise RecipeError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise RecipeError(f"{path}: {exc}") from exc
    data = document.get("data")
    if isinstance(data, dict) and isinstance(source := data.get("source"), str):
        data["source"] = _resolve(source, path.parent)
    return document


def _resolve(source: str, folder: Path) -> str:
    """Return a source independent of the working directory, with $NAME expanded."""
    source = os.path.expandvars(source)
    if missing := re.search(r"\$\{?(\w+)", source):
        raise RecipeError(
            f"{source}: {missing[1]} is not set\n  Set it to the folder that holds the data."
        )
    if source.startswith("statsmodels:") or Path(source).is_absolute():
        return source
    return str(folder / source)
