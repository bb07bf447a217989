"""A request of KServe's forecast API: series into rows for the engine, answers into a body."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from models.contract import ModelCard
from models.frequency import Frequency
from service.engine.admission import check_sequence
from service.engine.errors import InvalidSequence
from service.engine.jobs import Answer, Array, Row
from service.http.errors import InvalidRequest
from service.http.problems.table import TABLE
from service.http.schemas.arrays import to_matrix
from service.http.schemas.covariates import extend
from service.http.schemas.document import parse
from service.http.schemas.native import start_time, timestamps, wanted_levels
from service.http.schemas.plain import Series
from service.http.schemas.reply import Reply
from service.http.schemas.timeseries import MULTIVARIATE, UNIVARIATE, Envelope, Item
from service.http.schemas.wire import validated
from service.http.schemas.words import read_frequency

_KINDS = {False: UNIVARIATE, True: MULTIVARIATE}


@dataclass(frozen=True, slots=True)
class _Taken:
    """What becomes of an input that can be forecast."""

    row: Row
    begins: str | None  # the time of the first step of the forecast


_Refused = InvalidRequest | InvalidSequence


def read_envelope(body: bytes) -> Envelope:
    """Read what is asked of which model; raise MalformedRequest or InvalidRequest."""
    return validated(Envelope, parse(body))


class ForecastQuery:
    """
    A checked request: rows for the engine, and how to write their answers.

    What cannot be read as an input refuses the request; what the model cannot take is the
    error of that input alone, unless no input is better.  Raises InvalidRequest or
    InvalidSequence with the place.
    """

    def __init__(self, envelope: Envelope, card: ModelCard, max_sequences: int) -> None:
        count = len(envelope.inputs)
        if not 1 <= count <= max_sequences:
            raise InvalidRequest("inputs", f"expected 1 to {max_sequences} inputs, got {count}")
        self._card = card
        self._horizon = envelope.options.horizon
        if self._horizon > card.horizon:
            problem = f"expected at most {card.horizon} steps, got {self._horizon}"
            raise InvalidRequest("options.horizon", problem)
        levels = envelope.options.quantiles
        self._levels = None if levels is None else wanted_levels(levels, card, "options.quantiles")
        self._inputs = [
            validated(Item, document, f"inputs[{index}]")
            for index, document in enumerate(envelope.inputs)
        ]
        self._found = [self._take(item, index) for index, item in enumerate(self._inputs)]
        self._places = [
            index for index, found in enumerate(self._found) if isinstance(found, _Taken)
        ]
        self.rows = [found.row for found in self._found if isinstance(found, _Taken)]
        for found in self._found:
            if not self.rows and isinstance(found, Exception):
                raise found

    def place(self, row: int) -> str:
        """Say which input a row is."""
        return f"inputs[{self._places[row]}]"

    def write(self, answers: Sequence[Answer], version: int) -> Reply:
        """Return the response's body."""
        name, remaining = f"forecast-{uuid.uuid4().hex}", iter(answers)
        outputs = []
        for index, (item, found) in enumerate(zip(self._inputs, self._found, strict=True)):
            output: dict[str, object] = {
                "type": "time_series_forecast",
                "id": f"{name}-{index}",
                "status": "completed",
                "content": [],
                "error": None,
            }
            if isinstance(found, _Taken):
                output["content"] = [self._forecast(item, found, next(remaining))]
            else:
                output |= {"status": "error", "error": _error(found)}
            outputs.append(output)
        body = {
            "id": name,
            "created_at": int(time.time()),
            "status": "completed" if len(self.rows) == len(outputs) else "partial",
            "error": None,
            "model": self._card.name,
            "model_version": str(version),
            "outputs": outputs,
            "usage": self._usage(),
        }
        return Reply(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY))

    def _take(self, item: Item, index: int) -> _Taken | _Refused:
        place = f"inputs[{index}]"
        try:
            return self._row(item, place)
        except (InvalidRequest, InvalidSequence) as exc:
            return exc

    def _row(self, item: Item, place: str) -> _Taken:
        card = self._card
        _check_frequency(item.frequency, card, f"{place}.frequency")
        values = to_matrix(item.series, f"{place}.series")
        if item.type != _KINDS[type(item.series[0]) is list]:
            wanted = "numbers" if item.type == UNIVARIATE else "an array for each step"
            raise InvalidRequest(f"{place}.series", f"expected {wanted}, as its type says")
        check_sequence(values, card, f"{place}.series", card.given)
        future = None if item.future is None else to_matrix(item.future, f"{place}.future")
        start, begins, named = None, None, f"{place}.start_timestamp"
        if item.start_timestamp is not None:
            start = start_time(item.start_timestamp, named)
            (begins,) = timestamps(start, (len(values),), card, named)
        series = Series(values, future=future, static=item.static)
        return _Taken(Row(*extend(series, start, card, place, "start_timestamp")), begins)

    def _forecast(self, item: Item, taken: _Taken, answer: Answer) -> dict[str, object]:
        several = len(self._card.targets) > 1
        content: dict[str, object] = {
            "type": _KINDS[several],
            "name": item.name,
            "mean_forecast": self._cut(answer.mean, several=several),
            "frequency": item.frequency,
            "start_timestamp": taken.begins,
            "quantiles": None,
        }
        if self._levels is not None:
            content["quantiles"] = {
                level: self._cut(answer.predictions[:, :, index], several=several)
                for level, index in self._levels
            }
        return content

    def _cut(self, steps: Array, *, several: bool) -> Array:
        """Return as many steps of (horizon, targets) as are asked for."""
        return np.ascontiguousarray(
            steps[: self._horizon] if several else steps[: self._horizon, 0]
        )

    def _usage(self) -> dict[str, int]:
        read = sum(len(row.sequence) for row in self.rows)
        made = self._horizon * len(self.rows)
        return {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}


def _check_frequency(text: str, card: ModelCard, place: str) -> None:
    try:
        asked = read_frequency(text)
    except ValueError:
        problem = "expected a word such as hour or 15 minutes, or a frequency such as 1h"
        raise InvalidRequest(place, problem) from None
    if not asked.steps_like(Frequency.parse(card.frequency)):
        raise InvalidRequest(place, f"this model's steps are {card.frequency}, not {asked}")


def _error(refused: _Refused) -> dict[str, str]:
    problem = TABLE[type(refused)]
    return {
        "code": str(problem.status),
        "message": str(refused),
        "param": refused.place,
        "type": problem.type,
    }
