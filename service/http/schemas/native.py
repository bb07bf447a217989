"""The native API's request and response, and their conversion into rows and bytes."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from pydantic import Field

from models.contract import ModelCard, Task
from models.frequency import Frequency, format_time, parse_time
from service.engine.jobs import Answer, Array, Row
from service.http.errors import InvalidRequest
from service.http.schemas import plain
from service.http.schemas.arrays import to_matrix
from service.http.schemas.classes import ClassOut, class_prediction, refuse_forecast_words
from service.http.schemas.covariates import complete
from service.http.schemas.document import parse
from service.http.schemas.plain import Series, SeriesRequest
from service.http.schemas.reply import Reply
from service.http.schemas.wire import Wire, WireModel, validated

Step = Annotated[list[float | None], Field(min_length=1)]
Numbers = Step | Annotated[list[Step], Field(min_length=1)]
# What a caller may list, and where pydantic stops to look: at the first fault.
Wanted = Annotated[list[float], Field(max_length=100, fail_fast=True)]
Explain = Annotated[list[Literal["attention"]], Field(max_length=8, fail_fast=True)]
Levels = list[tuple[str, int]]  # the label of each level wanted, and its index


class _Item(WireModel):
    """A sequence, with the numbers left to ``arrays``, which reads them far faster."""

    values: Any
    id: Annotated[str, Field(max_length=256)] | None = None
    start: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="ISO 8601 time of the first step; the answer then carries timestamps; "
        "needed where the card has calendar",
    )
    future: Any = None
    static: Any = None


class SequenceIn(_Item):
    """One series up to now: (time,) numbers for one feature, or (time, features)."""

    values: Numbers = Field(
        description="without the columns of static and calendar, which are added here; "
        "null is a missing value, where the card allows it"
    )
    future: Numbers | None = Field(
        None, description="(horizon, known): covariates known ahead, without the calendar's"
    )
    static: dict[str, float | str] | None = Field(
        None, description="a value for each name in the card's static"
    )


class _Envelope(WireModel):
    """A request, with each sequence left to be read by itself."""

    sequences: list[Any]
    quantiles: Wanted | None = Field(None, description="some of the card's levels; all if absent")
    explain: Explain = Field(default_factory=list)


class PredictRequest(_Envelope):
    """Any number of sequences, of any mix of lengths."""

    sequences: list[SequenceIn | Numbers]


class PredictionOut(WireModel):
    """The forecast of one sequence, in its own units; a targets axis comes last if several."""

    mean: list[float] | list[list[float]]
    quantiles: dict[str, list[float] | list[list[float]]]
    id: str | None = None
    timestamps: list[str] | None = None
    attention: list[float] | None = None


class PredictResponse(WireModel):
    """One prediction per sequence, in the order sent."""

    model: str
    version: int
    predictions: list[PredictionOut] | list[ClassOut]


class PredictQuery:
    """A checked request: rows for the engine, and how to write their answers."""

    timeout: float | None = None  # a header says it

    def __init__(self, body: bytes, card: ModelCard, max_sequences: int) -> None:
        asked = plain.read(body, max_sequences) or _read_carefully(body, max_sequences)
        if asked.attention and not card.attention:
            raise InvalidRequest("explain", "this model has no attention weights")
        if card.task is Task.CLASSIFY:
            refuse_forecast_words(asked)
        self._card = card
        self._levels = wanted_levels(asked.quantiles, card)
        self._asked = asked
        self.rows: list[Row] = []
        self._times: list[list[str] | None] = []
        for index, series in enumerate(asked.series):
            start = (
                None
                if series.start is None
                else start_time(series.start, f"sequences[{index}].start")
            )
            times = None if start is None else _timestamps(start, len(series.values), card, index)
            self._times.append(times)
            self.rows.append(Row(*complete(series, start, card, index), asked.attention))

    def write(self, answers: Sequence[Answer], version: int) -> Reply:
        """Return the response's body."""
        predictions = [
            prediction(answer, self._card, self._levels, series.id, times)
            for series, times, answer in zip(self._asked.series, self._times, answers, strict=True)
        ]
        body = {"model": self._card.name, "version": version, "predictions": predictions}
        return Reply(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY))


def prediction(
    answer: Answer, card: ModelCard, levels: Levels, label: str | None, times: list[str] | None
) -> dict[str, object]:
    """Return one answer, ready for orjson; ``label`` is the caller's name for the sequence."""
    if card.task is Task.CLASSIFY:
        return class_prediction(label, answer, card)
    quantiles = np.ascontiguousarray(answer.predictions.transpose(2, 0, 1))
    mean = np.ascontiguousarray(answer.mean)  # (horizon, targets), and levels before that
    if mean.shape[1] == 1:
        quantiles, mean = quantiles[:, :, 0], mean[:, 0]
    out: dict[str, object] = {"id": label} if label is not None else {}
    out["mean"] = mean
    out["quantiles"] = {level: quantiles[index] for level, index in levels}
    if times is not None:
        out["timestamps"] = times
    if answer.attention is not None:
        out["attention"] = np.ascontiguousarray(answer.attention)
    return out


def _read_carefully(body: bytes, max_sequences: int) -> SeriesRequest:
    """Read any request, or raise MalformedRequest or InvalidRequest naming the first place."""
    envelope = validated(_Envelope, parse(body))
    count = len(envelope.sequences)
    if not 1 <= count <= max_sequences:
        raise InvalidRequest("sequences", f"expected 1 to {max_sequences} sequences, got {count}")
    series = [_series(item, index) for index, item in enumerate(envelope.sequences)]
    return SeriesRequest(series, envelope.quantiles, bool(envelope.explain))


def item_of(kind: type[Wire], document: object, place: str) -> Wire:
    """Return a sequence as an object, whether it came as one or as its values alone."""
    return validated(kind, document if type(document) is dict else {"values": document}, place)


def wanted_levels(asked: list[float] | None, card: ModelCard, place: str = "quantiles") -> Levels:
    """Return the label and the index of each level wanted, none of them twice."""
    if asked is not None and len(set(asked)) < len(asked):
        raise InvalidRequest(place, "a level is asked for twice")
    for index, level in enumerate(asked or ()):
        if level not in card.quantiles:
            have = ", ".join(map(str, card.quantiles))
            raise InvalidRequest(f"{place}[{index}]", f"this model forecasts the levels {have}")
    return _labelled(card.quantiles, card.quantiles if asked is None else tuple(asked))


@lru_cache(256)
def _labelled(levels: tuple[float, ...], wanted: tuple[float, ...]) -> Levels:
    return [(str(level), levels.index(level)) for level in wanted]


def _series(document: object, index: int) -> Series:
    place = f"sequences[{index}]"
    item = item_of(_Item, document, place)
    values = to_matrix(item.values, f"{place}.values")
    future: Array | None = None
    if item.future is not None:
        future = to_matrix(item.future, f"{place}.future")
    return Series(values, item.id, item.start, future, item.static)


def start_time(text: str, place: str) -> datetime:
    """Return a time as it was sent; raise InvalidRequest."""
    try:
        return parse_time(text)
    except ValueError:
        raise InvalidRequest(
            place, "expected an ISO 8601 time such as 2010-01-01T00:00:00Z"
        ) from None


def _timestamps(start: datetime, length: int, card: ModelCard, index: int) -> list[str]:
    """Return the times of the forecast steps."""
    return timestamps(
        start, range(length, length + card.horizon), card, f"sequences[{index}].start"
    )


def timestamps(start: datetime, steps: Iterable[int], card: ModelCard, place: str) -> list[str]:
    """Return the times so many steps after a start; raise InvalidRequest."""
    frequency = Frequency.parse(card.frequency)
    try:
        return [format_time(frequency.step(start, step)) for step in steps]
    except OverflowError:
        raise InvalidRequest(place, "the forecast would leave the calendar") from None
