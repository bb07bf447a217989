"""Sessions as JSON: how one is opened, and what the API says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from pydantic import Field

from models.contract import ModelCard, Task
from service.http.errors import InvalidRequest
from service.http.schemas.arrays import to_matrix
from service.http.schemas.covariates import static_row
from service.http.schemas.document import parse
from service.http.schemas.native import Explain, Numbers, Wanted, start_time, wanted_levels
from service.http.schemas.steps import Payload
from service.http.schemas.wire import WireModel, validated
from service.sessions.live import LiveAccuracy, accuracy
from service.sessions.steps import Inputs
from service.sessions.stream import Stream, begin
from service.sessions.turns import Session

# It is held against its signature while nothing else goes on.
Token = Annotated[str, Field(max_length=2**22)]


class _Envelope(WireModel):
    """What a session begins with, the numbers left to ``arrays``, which reads them far faster."""

    values: Any = None
    start: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="ISO 8601 time of the first step that the session reads; the answers then "
        "carry timestamps; needed where the card has calendar",
    )
    static: Any = None
    future: Any = None
    quantiles: Wanted | None = None
    explain: Explain = Field(default_factory=list)
    state: Token | None = Field(
        None, description="a state that was exported, instead of all the rest"
    )


class OpenIn(_Envelope):
    """What a session begins with; all of it may be left out, unless the card needs it."""

    values: Numbers | None = Field(None, description="the history up to now, as in a prediction")
    static: dict[str, float | str] | None = Field(
        None, description="a value for each name in the card's static"
    )
    future: Numbers | None = Field(
        None, description="(horizon, known): covariates known ahead, for the forecast after values"
    )


class StateOut(WireModel):
    """The state of a session: opaque, signed, and good only for the very same model file."""

    state: Token


class LiveAccuracyOut(WireModel):
    """How good the forecasts of the next step were, as found by the steps that came."""

    steps: float = Field(description="scored; of rolling figures, those that still count")
    mae: float
    seasonal_naive_mae: float
    mae_ratio: float | None
    coverage: float
    nominal_coverage: float


class SessionOut(WireModel):
    """A session as it is stored."""

    session: str
    model: str
    version: int
    step: int
    expected_step: int
    count: int
    created: str
    touched: str
    expires: str
    bytes: int
    live_accuracy: dict[str, LiveAccuracyOut]


@dataclass(frozen=True, slots=True)
class Opening:
    """What a session begins with: a token, or a stream and what it reads at once."""

    token: str | None
    stream: Stream
    history: Inputs | None
    quantiles: list[float] | None = None


def read_opening(body: bytes, card: ModelCard) -> Opening:
    """Return what a body asks for; raise MalformedRequest, InvalidRequest and InvalidSequence."""
    sent = validated(_Envelope, parse(body) if body else {})
    if sent.state is not None:
        if sent.model_fields_set != {"state"}:
            raise InvalidRequest("state", "a state stands alone, with nothing beside it")
        return Opening(sent.state, begin(card), None)
    start = None if sent.start is None else start_time(sent.start, "start")
    _check(sent, start, card)
    stream = begin(card, start=start, static=sent.static)
    if sent.values is None:
        if sent.future is not None or sent.explain or sent.quantiles is not None:
            raise InvalidRequest("values", "there is no forecast without any")
        return Opening(None, stream, None)
    future = None if sent.future is None else to_matrix(sent.future, "future")
    payload = Payload(to_matrix(sent.values, "values"), future, sent.quantiles, bool(sent.explain))
    wanted_levels(sent.quantiles, card)
    return Opening(None, stream, payload.read(card, stream), sent.quantiles)


def read_state(body: bytes) -> str:
    """Return the token of a body; raise MalformedRequest and InvalidRequest."""
    return validated(StateOut, parse(body)).state


def describe(session: Session, card: ModelCard) -> bytes:
    """Return what is known of a session, as JSON."""
    record, stream = session.record, session.stream
    return orjson.dumps(
        SessionOut(
            session=record.id,
            model=record.model,
            version=record.version,
            step=record.step,
            expected_step=record.step + 1,
            count=stream.count,
            created=_time(record.created),
            touched=_time(record.touched),
            expires=_time(record.expires),
            bytes=record.size,
            live_accuracy=live_accuracy(accuracy(stream.score, card)),
        ).model_dump()
    )


def live_accuracy(found: Mapping[str, LiveAccuracy]) -> dict[str, LiveAccuracyOut]:
    """Return the figures of each target, ready for the wire."""
    return {
        target: LiveAccuracyOut(
            steps=round(one.steps, 3),
            mae=one.mae,
            seasonal_naive_mae=one.seasonal_naive_mae,
            mae_ratio=one.mae_ratio,
            coverage=one.coverage,
            nominal_coverage=one.nominal_coverage,
        )
        for target, one in found.items()
    }


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check(sent: _Envelope, start: datetime | None, card: ModelCard) -> None:
    """Refuse at once what would make every later step fail."""
    if card.task is Task.CLASSIFY and sent.start is not None:
        raise InvalidRequest("start", "a classifier knows no times")
    if card.calendar and start is None:
        cycles = ", ".join(card.calendar)
        raise InvalidRequest("start", f"expected the time of the first step ({cycles})")
    static_row(sent.static, card, "static")
