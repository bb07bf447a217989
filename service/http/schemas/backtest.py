"""The backtest's request and response, and their conversion into rows and bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field

from models.accuracy import TargetAccuracy
from models.contract import ModelCard
from models.fingerprint import Overlap, overlap
from service.engine.errors import unfit
from service.engine.jobs import Answer, Array, Row
from service.http.errors import InvalidRequest
from service.http.rolling import Places, choose_origins, cut, score
from service.http.schemas.arrays import to_matrix
from service.http.schemas.covariates import complete_history
from service.http.schemas.document import parse
from service.http.schemas.native import Numbers, item_of, start_time, timestamps
from service.http.schemas.reply import Reply
from service.http.schemas.wire import WireModel, validated

ORIGINS = 20
MOST = 1_000_000

_UNKNOWN = (
    "this version's card holds no fingerprint of what it was trained on, so whether these series "
    "were part of it is not known"
)


class _Item(WireModel):
    """A series, with the numbers left to ``arrays``, which reads them far faster."""

    values: Any
    id: Annotated[str, Field(max_length=256)] | None = None
    start: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="ISO 8601 time of the first step; the answer then carries times"
    )
    static: Any = None


class HistoryIn(_Item):
    """One series with its past and its outcome: (time,) numbers, or (time, features)."""

    values: Numbers = Field(
        description="all features, known covariates too; null is a missing value, among what the "
        "model reads only where the card allows it"
    )
    static: dict[str, str | float] | None = Field(
        None, description="a value for each static covariate, of a model that has any"
    )


class _Envelope(WireModel):
    """A request, with each series left to be read by itself."""

    origins: Annotated[int, Field(ge=1, le=MOST)] = Field(
        ORIGINS, description="windows to forecast of each series, the last ones that fit"
    )
    stride: Annotated[int, Field(ge=1, le=MOST)] | None = Field(
        None,
        description="steps from one window to the next; spread over the series if absent, at most "
        "a horizon apart",
    )
    series: list[Any]


class BacktestRequest(_Envelope):
    """Any number of series, and how often each is to be forecast."""

    series: list[HistoryIn | Numbers]


class OverlapOut(BaseModel):
    """
    What a series has in common with what the model was trained on.

    ``found`` of ``checked`` stretches of 32 steps were recognised, and so many windows forecast
    steps from among them.
    """

    checked: int
    found: int
    windows: int


class SeriesScore(BaseModel):
    """The errors of one series, in its own units."""

    id: str | None
    windows: int
    origins: list[int]  # the last step each window read, counted from 0
    times: list[str] | None  # of each window's first forecast step, if the series had a start
    training_overlap: OverlapOut | None  # null where the card has no fingerprint
    targets: dict[str, TargetAccuracy]


class BacktestResponse(BaseModel):
    """One score a series, in the order sent."""

    model: str
    version: int
    season: int  # steps that seasonal naive repeats
    series: list[SeriesScore]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class _History:
    values: Array  # (time, features)
    origins: Places
    id: str | None
    times: list[str] | None

    def overlap(self, sketch: str | None, targets: int) -> OverlapOut | None:
        if sketch is None:
            return None
        common: Overlap = overlap(self.values[:, :targets], sketch)
        windows = int((self.origins + 1 < common.end).sum())
        return OverlapOut(checked=common.checked, found=common.found, windows=windows)


class BacktestQuery:
    """A checked request: rows for the engine, and how to score their answers."""

    def __init__(self, body: bytes, card: ModelCard, max_windows: int) -> None:
        envelope = validated(_Envelope, parse(body))
        if not envelope.series:
            raise InvalidRequest("series", "expected at least one series, got an empty array")
        if len(envelope.series) > max_windows:
            raise InvalidRequest(
                "series", f"expected 1 to {max_windows} series, got {len(envelope.series)}"
            )
        self._card = card
        self._histories: list[_History] = []
        self.rows: list[Row] = []
        self._places: list[str] = []
        for index, item in enumerate(envelope.series):
            history = _history(item, index, card, envelope)
            self._histories.append(history)
            self.rows += cut(history.values, history.origins, card)
            self._places += [f"series[{index}], origin {origin}" for origin in history.origins]
            if len(self.rows) > max_windows:
                raise InvalidRequest(
                    "origins",
                    f"expected at most {max_windows} windows in all series together; ask for "
                    f"fewer origins, or send fewer series",
                )

    def place(self, index: int) -> str:
        """Name the series and the origin of a row."""
        return self._places[index]

    def write(self, answers: Sequence[Answer], version: int) -> Reply:
        """Return the response's body."""
        card, done, scores = self._card, 0, []
        sketch = card.provenance.fingerprint if card.provenance else None
        for history in self._histories:
            count = len(history.origins)
            each = answers[done : done + count]
            done += count
            scores.append(
                SeriesScore(
                    id=history.id,
                    windows=count,
                    origins=history.origins.tolist(),
                    times=history.times,
                    training_overlap=history.overlap(sketch, len(card.targets)),
                    targets=score(history.values, history.origins, each, card),
                )
            )
        response = BacktestResponse(
            model=card.name,
            version=version,
            season=card.season,
            series=scores,
            warnings=_warnings(scores, card),
        )
        hidden = {"series": {"__all__": {"targets": {"__all__": {"examples"}}}}}
        return Reply(response.model_dump_json(exclude=hidden).encode())


def _warnings(scores: Sequence[SeriesScore], card: ModelCard) -> list[str]:
    warnings = []
    for index, found in enumerate(scores):
        common = found.training_overlap
        if common and common.windows:
            warnings.append(
                f"series[{index}]: {common.windows} of {found.windows} windows forecast steps that "
                f"this model was trained on; their errors say little about new data"
            )
        absent = [name for name in card.targets if name not in found.targets]
        if absent:
            warnings.append(f"series[{index}]: never observed in a window: {', '.join(absent)}")
    if any(found.training_overlap is None for found in scores):
        warnings.append(_UNKNOWN)
    return warnings


def _history(document: object, index: int, card: ModelCard, envelope: _Envelope) -> _History:
    place = f"series[{index}]"
    item = item_of(_Item, document, place)
    values = to_matrix(item.values, f"{place}.values")
    _check_shape(values, card, f"{place}.values")
    start = None if item.start is None else start_time(item.start, f"{place}.start")
    values = complete_history(values, item.static, start, card, place)
    origins = choose_origins(values, card, envelope.origins, envelope.stride)
    if not len(origins):
        raise InvalidRequest(
            f"{place}.values", "no window has an observed target to read and one to compare with"
        )
    _check_values(values, origins, card, f"{place}.values")
    times = None
    if start is not None:
        times = timestamps(start, (origins + 1).tolist(), card, f"{place}.start")
    return _History(values, origins, item.id, times)


def _check_shape(values: Array, card: ModelCard, place: str) -> None:
    if values.shape[1] != len(card.given):
        names = ", ".join(card.given)
        raise InvalidRequest(
            place,
            f"expected {len(card.given)} features a step ({names:.200}), got {values.shape[1]}",
        )
    needed = card.min_length + card.horizon
    if len(values) < needed:
        raise InvalidRequest(
            place,
            f"expected at least {needed} steps, {card.min_length} to read and {card.horizon} to "
            f"forecast, got {len(values)}",
        )


def _check_values(values: Array, origins: Places, card: ModelCard, place: str) -> None:
    """Refuse the first number that a window cannot read, and say where it is."""
    wrong = np.isinf(values)
    first, last = int(origins[0]), int(origins[-1])
    if not card.missing_values:
        begin = max(0, first + 1 - card.max_length)
        wrong[begin : last + 1] |= np.isnan(values[begin : last + 1])
    if card.known:
        ahead = slice(first + 1, last + 1 + card.horizon), slice(-len(card.known), None)
        wrong[ahead] |= np.isnan(values[ahead])
    if wrong.any():
        step, feature = np.unravel_index(int(wrong.argmax()), values.shape)
        column = f"[{feature}]" if values.shape[1] > 1 else ""
        raise unfit(f"{place}[{step}]{column}", values[step, feature])
