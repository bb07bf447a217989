"""
The contract between training and serving: a card inside the ONNX file.

Training writes it, serving reads it, and neither imports the other.  This module needs
pydantic and numpy, nothing else: no torch, no onnx, no onnxruntime.
"""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    FiniteFloat,
    model_validator,
)

from models.accuracy import Accuracy
from models.calendar import Cycle, cycle_columns
from models.classification import ClassificationAccuracy
from models.covariates import Categories, static_columns
from models.document import Document
from models.fingerprint import checked_sketch
from models.frequency import Frequency
from models.upgrade import upgraded

METADATA_KEY = "model_card"

SEQUENCES = "sequences"  # (batch, time, features) float32, padded on the right
LENGTHS = "lengths"  # (batch,) int64, the valid steps of each sequence
FUTURE = "future"  # (batch, horizon, known) float32, covariates known ahead
STATE = "state."  # + name: (batch, ...) float32, the state so far; zeros before the first step
PREDICTIONS = "predictions"  # (batch, horizon, targets, quantiles) or (batch, classes) float32
ATTENTION = "attention"  # (batch, time) float32, the weights of the readout
NEXT_STATE = "next_state."  # + name: likewise, after the last valid step

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class ContractError(ValueError):
    """The file has no card, or one that this version cannot read."""


class Task(StrEnum):
    """What a model answers; the shape of ``predictions`` follows from it."""

    FORECAST = "forecast"
    CLASSIFY = "classify"


class StateKind(StrEnum):
    """What a stream of this model keeps: its last inputs, or tensors of the network."""

    WINDOW = "window"
    RECURRENT = "recurrent"


class Provenance(Document):
    """Where a model comes from, so that it can be made again; nothing is decided by it."""

    data_sha256: str
    rows: int
    series: int
    # The last time of the parts "train" and "validation"; of a classifier, each part's series.
    split: Mapping[str, datetime | int]
    seed: int
    recipe: str  # the whole recipe, as JSON
    versions: Mapping[str, str]
    parity_error: FiniteFloat  # largest |ONNX - torch| / scale over the gate's cases
    created: datetime
    fingerprint: Annotated[str, AfterValidator(checked_sketch)] | None = None  # of the series


class StateSpec(Document):
    """The kind of state, and the tensors of a recurrent one: name -> shape without batch."""

    kind: StateKind = StateKind.WINDOW
    tensors: Mapping[str, tuple[int, ...]] = Field(default_factory=dict)

    @cached_property
    def size(self) -> int:
        """How many numbers the tensors of one row hold."""
        return sum(math.prod(shape) for shape in self.tensors.values())


def _frequency(text: str) -> str:
    return str(Frequency.parse(text)) if text else ""


class ModelCard(Document):
    """
    What a caller must know to use a model.

    ``targets``, ``horizon``, ``quantiles`` and ``frequency`` belong to a forecaster, ``classes`` to
    a classifier; what a model does not have is empty.
    """

    schema_version: Literal[2] = 2  # of version 1, too, once it is read
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    task: Task = Task.FORECAST
    description: str = ""
    features: Annotated[tuple[str, ...], Field(min_length=1)]  # columns of ``sequences``
    targets: tuple[str, ...] = ()  # the first columns of ``features``
    known: tuple[str, ...] = ()  # columns of ``future``; the last columns of ``features``
    calendar: tuple[Cycle, ...] = ()  # made from times: the last columns of ``known``, two each
    static: Mapping[str, Categories] = Field(default_factory=dict)  # the columns before ``known``
    horizon: Annotated[int, Field(ge=0)] = 0
    quantiles: tuple[float, ...] = ()
    frequency: Annotated[str, AfterValidator(_frequency)] = ""
    classes: tuple[str, ...] = ()  # columns of ``predictions``
    min_length: Annotated[int, Field(ge=1)] = 1
    max_length: Annotated[int, Field(ge=1)]
    missing_values: bool = False  # whether a feature may be NaN
    attention: bool = False  # whether the graph can answer ``attention``
    exact: bool = True  # whether batching changes no bit on CPU; otherwise within 1e-6
    units: Mapping[str, str] = Field(default_factory=dict)  # per target
    state: StateSpec = StateSpec()
    accuracy: Accuracy | ClassificationAccuracy | None = None
    provenance: Provenance | None = None

    @model_validator(mode="before")
    @classmethod
    def _upgraded(cls, document: Any) -> Any:  # noqa: ANN401  whatever the file holds
        earlier = isinstance(document, Mapping) and document.get("schema_version") == 1
        return upgraded(document) if earlier else document

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.task is Task.CLASSIFY:
            self._check_classes()
        else:
            self._check_forecast()
        if len(set(self.features)) != len(self.features):
            raise ValueError("a feature is named twice")
        if self.min_length > self.max_length:
            raise ValueError("min_length must not exceed max_length")
        return self

    def _check_classes(self) -> None:
        of_forecasts = "targets", "known", "calendar", "static", "horizon", "quantiles", "frequency"
        if given := [name for name in of_forecasts if getattr(self, name)]:
            raise ValueError(f"a classifier has no {', '.join(given)}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is named twice")
        if len(self.classes) < 2:  # noqa: PLR2004
            raise ValueError("classes must hold at least 2 items")
        if self.accuracy is not None and tuple(self._recall()) != self.classes:
            raise ValueError("the accuracy is a forecaster's, or of other classes")

    def _recall(self) -> Mapping[str, float]:
        return {} if isinstance(self.accuracy, Accuracy | None) else self.accuracy.recall

    def _check_forecast(self) -> None:
        if not (self.targets and self.quantiles):
            raise ValueError("targets and quantiles must hold at least 1 item each")
        if not (self.horizon and self.frequency):
            raise ValueError("horizon must be greater than or equal to 1, frequency be given")
        if self.classes or isinstance(self.accuracy, ClassificationAccuracy):
            raise ValueError("classes and their accuracy are a classifier's")
        if self.features[: len(self.targets)] != self.targets:
            raise ValueError("the first features must be the targets")
        if self.known and self.features[-len(self.known) :] != self.known:
            raise ValueError("the last features must be the known covariates")
        self._check_made()
        if len(self.targets) + len(self.known) > len(self.features):
            raise ValueError("a target cannot be known ahead")
        if any(low >= high for low, high in pairwise(self.quantiles)):
            raise ValueError("quantiles must be in increasing order")
        if not 0 < self.quantiles[0] <= self.quantiles[-1] < 1:
            raise ValueError("quantiles must lie between 0 and 1")

    def _check_made(self) -> None:
        """Raise ValueError for calendar or static columns that are not in their place."""
        cycles, static = cycle_columns(self.calendar), static_columns(self.static)
        if cycles and self.known[-len(cycles) :] != cycles:
            raise ValueError("the last known covariates must be those of the calendar")
        before = self.features[: len(self.features) - len(self.known)]
        if static and before[len(self.targets) :][-len(static) :] != static:
            raise ValueError("the features before the known covariates must be the static ones")

    @cached_property
    def season(self) -> int:
        """The season of a forecaster in steps: that of its accuracy, or else of its frequency."""
        if isinstance(self.accuracy, Accuracy):
            return self.accuracy.season
        return Frequency.parse(self.frequency).season

    @cached_property
    def given(self) -> tuple[str, ...]:
        """The features that a caller gives step by step: all but static and calendar."""
        past = len(self.features) - len(self.known) - len(static_columns(self.static))
        return self.features[:past] + self.given_known

    @cached_property
    def given_known(self) -> tuple[str, ...]:
        """The covariates that a caller gives ahead: all known ones but the calendar's."""
        return self.known[: len(self.known) - len(cycle_columns(self.calendar))]

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """The shape of one row of ``predictions``: (horizon, targets, quantiles) or (classes,)."""
        if self.task is Task.CLASSIFY:
            return (len(self.classes),)
        return self.horizon, len(self.targets), len(self.quantiles)

    def to_metadata(self) -> dict[str, str]:
        """Return the card as the metadata of an ONNX file: a single entry."""
        return {METADATA_KEY: self.model_dump_json()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Return the card in the metadata of an ONNX file; raise ContractError."""
        try:
            return cls.model_validate(json.loads(metadata[METADATA_KEY]))
        except KeyError:
            raise ContractError(f"The file has no {METADATA_KEY!r} entry.") from None
        except (ValueError, RecursionError) as exc:  # of json or of pydantic
            raise ContractError(f"The model card cannot be read: {exc}") from exc
