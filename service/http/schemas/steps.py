"""The steps of sessions as JSON: what was sent, held against the session, and its answer."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, Field

from models.contract import ModelCard, Task
from models.frequency import Frequency
from service.engine.admission import check_steps
from service.engine.core import LoadedModel
from service.engine.jobs import Array
from service.http.errors import InvalidRequest
from service.http.schemas.arrays import to_matrix
from service.http.schemas.classes import ClassOut
from service.http.schemas.covariates import extend
from service.http.schemas.document import parse
from service.http.schemas.native import (
    Explain,
    Numbers,
    PredictionOut,
    Wanted,
    prediction,
    timestamps,
    wanted_levels,
)
from service.http.schemas.plain import Series
from service.http.schemas.wire import WireModel, validated
from service.sessions.errors import Unfit
from service.sessions.steps import Inputs
from service.sessions.stream import Stream, missing_steps
from service.sessions.turns import Forecast


class _Item(WireModel):
    """A step, with the numbers left to ``arrays``, which reads them far faster."""

    values: Any
    future: Any = None
    quantiles: Wanted | None = Field(None, description="some of the card's levels; all if absent")
    explain: Explain = Field(default_factory=list)


class StepIn(_Item):
    """What is new since the last step: one row or many."""

    values: Numbers = Field(
        description="(time,) numbers for one feature, or (time, features), without the columns of "
        "static and calendar; null is a missing value, where the card allows it"
    )
    future: Numbers | None = Field(
        None, description="(horizon, known): covariates known ahead, without the calendar's"
    )


class _Named(WireModel):
    session: Annotated[str, Field(max_length=256)]
    step: Annotated[int, Field(ge=1, lt=10**15)]


class _NamedItem(_Named, _Item):
    """A step that says whose it is."""


class NamedStepIn(_Named, StepIn):
    """A step that says whose it is."""


class _Envelope(WireModel):
    """Steps, each left to be read by itself."""

    steps: list[Any]


class StepsIn(_Envelope):
    """Steps of any sessions of one model, several of one session in their order."""

    steps: list[NamedStepIn]


class StepOut(BaseModel):
    """The forecast after a step; null while the session has too few inputs for one."""

    session: str
    step: int
    model: str
    version: int
    count: int = Field(description="inputs read in all")
    prediction: PredictionOut | ClassOut | None
    missing: int | None = Field(None, description="how many more inputs a first forecast takes")


class StepTold(BaseModel):
    """One of many steps: its answer, or a problem with the session and step that it is about."""

    status: int
    replayed: bool | None = None
    answer: StepOut | None = None
    session: str | None = None
    step: int | None = None
    problem: dict[str, Any] | None = None


class StepsOut(BaseModel):
    """One for each step, in the order sent."""

    answers: list[StepTold]


@dataclass(frozen=True, slots=True)
class Payload:
    """What is new, and how it is to be answered; nothing held against a card yet."""

    values: Array  # (steps, what the card calls given)
    future: Array | None = None
    quantiles: list[float] | None = None
    attention: bool = False

    @property
    def digest(self) -> bytes:
        """What is equal exactly for equal payloads."""
        words = orjson.dumps([self.values.shape, self.quantiles, self.attention])
        digest = blake2b(words, digest_size=16)
        digest.update(self.values.tobytes())
        if self.future is not None:
            digest.update(orjson.dumps(self.future.shape))
            digest.update(self.future.tobytes())
        return digest.digest()

    def read(self, card: ModelCard, stream: Stream) -> Inputs:
        """Return the columns that the model reads; raise Unfit and InvalidSequence."""
        try:
            return self._read(card, stream)
        except InvalidRequest as exc:
            raise Unfit(str(exc)) from exc

    def _read(self, card: ModelCard, stream: Stream) -> Inputs:
        if self.attention and not card.attention:
            raise InvalidRequest("explain", "this model has no attention weights")
        if self.quantiles is not None:
            wanted_levels(self.quantiles, card)
        if not card.calendar and not card.static and stream.static is None:
            return Inputs(self.values, self.future, self.attention)
        check_steps(self.values, card, "values", card.given)
        series = Series(self.values, future=self.future, static=stream.static)
        sequence, future = extend(series, _now(stream, card), card, "step")
        return Inputs(sequence, future, self.attention)


@dataclass(frozen=True, slots=True)
class NamedStep:
    """One step of one session, as ``service.sessions`` takes it."""

    session: str
    number: int
    payload: Payload
    digest: bytes

    def read(self, card: ModelCard, stream: Stream) -> Inputs:
        """Return what it brings to the stream; raise Unfit and InvalidSequence."""
        return self.payload.read(card, stream)

    def write(self, forecast: Forecast, model: LoadedModel) -> bytes:
        """Return the body that answers it."""
        return write(self.session, self.number, forecast, model, self.payload.quantiles)


def read_step(body: bytes, session: str, number: int) -> NamedStep:
    """Return the step of a body; raise MalformedRequest and InvalidRequest."""
    payload = _payload(validated(_Item, parse(body)), "")
    return NamedStep(session, number, payload, payload.digest)


def read_steps(document: object, most: int) -> list[NamedStep]:
    """Return the steps of a document; raise InvalidRequest."""
    items = validated(_Envelope, document).steps
    if not 1 <= len(items) <= most:
        raise InvalidRequest("steps", f"expected 1 to {most} steps, got {len(items)}")
    return [read_named(item, f"steps[{index}]") for index, item in enumerate(items)]


def read_named(document: object, place: str) -> NamedStep:
    """Return one step that says whose it is; raise InvalidRequest from ``place`` on."""
    sent = validated(_NamedItem, document, place)
    payload = _payload(sent, place)
    return NamedStep(sent.session, sent.step, payload, payload.digest)


def write(
    session: str, step: int, forecast: Forecast, model: LoadedModel, quantiles: list[float] | None
) -> bytes:
    """Return the body that answers a step, or the opening of a session."""
    (stream, answer), card = forecast, model.card
    body: dict[str, Any] = {
        "session": session,
        "step": step,
        "model": model.entry.name,
        "version": model.entry.version,
        "count": stream.count,
        "prediction": None,
    }
    if answer is not None:
        levels = wanted_levels(quantiles, card)
        body["prediction"] = prediction(answer, card, levels, None, _times(stream, card))
    elif missing := missing_steps(stream, card):
        body["missing"] = missing
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _payload(sent: _Item, place: str) -> Payload:
    dot = f"{place}." if place else ""
    future = None if sent.future is None else to_matrix(sent.future, f"{dot}future")
    values = to_matrix(sent.values, f"{dot}values")
    return Payload(values, future, sent.quantiles, bool(sent.explain))


def _now(stream: Stream, card: ModelCard) -> datetime | None:
    """Return the time of the next input."""
    if stream.start is None:
        return None
    try:
        return Frequency.parse(card.frequency).step(stream.start, stream.count)
    except OverflowError:
        raise InvalidRequest("start", "the stream would leave the calendar") from None


def _times(stream: Stream, card: ModelCard) -> list[str] | None:
    """Return the times of the forecast; None without a start, or where it leaves the calendar."""
    if stream.start is None or card.task is Task.CLASSIFY:
        return None
    ahead = range(stream.count, stream.count + card.horizon)
    try:
        return timestamps(stream.start, ahead, card, "start")
    except InvalidRequest:
        return None
