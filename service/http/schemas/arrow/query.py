"""A long table of series into rows for the engine, and their answers into a long table."""

from collections.abc import Iterable, Sequence
from itertools import pairwise, repeat

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.calendar import cycle_features
from models.contract import ModelCard, Task
from models.covariates import join
from models.frequency import Frequency
from service.engine.errors import InvalidSequence, unfit
from service.engine.jobs import Answer, Array, Row
from service.http.errors import InvalidRequest
from service.http.schemas.arrow import MEDIA_TYPE, static, times
from service.http.schemas.arrow.series import ID, SeriesIndex, can_be_id, index_series
from service.http.schemas.arrow.stream import read_table, write_table
from service.http.schemas.reply import Reply

STEP = "step"  # in the place of times, where none were sent


class ArrowQuery:
    """A checked table: rows for the engine, and how to write their answers."""

    timeout: float | None = None  # a header says it

    def __init__(self, body: bytes, card: ModelCard, max_sequences: int) -> None:
        _check_card(card)
        table = read_table(
            body, lambda schema: _check_schema(schema, card), max_sequences * card.max_length
        )
        self._card = card
        self._series = index_series(table.column(ID), max_sequences)
        _check_lengths(self._series, card)
        values = _matrix(table, card)
        _check_values(values, self._series, card)
        self._times = self._go_on(table)
        self.rows = self._complete(values, table)

    def write(self, answers: Sequence[Answer], version: int) -> Reply:
        """Return the response's body."""
        card, horizon = self._card, self._card.horizon
        mean = np.concatenate([answer.mean for answer in answers])  # (series * horizon, targets)
        levels = np.concatenate([answer.predictions for answer in answers])  # and (..., quantiles)
        owners = np.repeat(np.arange(len(answers)), horizon)
        columns = {ID: self._series.ids.take(pa.array(owners))} | self._times
        for number, target in enumerate(card.targets):
            prefix = f"{target}_" if len(card.targets) > 1 else ""
            columns[f"{prefix}mean"] = _column(mean[:, number])
            for place, level in enumerate(card.quantiles):
                columns[f"{prefix}q{level}"] = _column(levels[:, number, place])
        table = pa.table(columns, metadata={"model": card.name, "version": str(version)})
        return Reply(write_table(table), MEDIA_TYPE)

    def _complete(self, values: Array, table: pa.Table) -> list[Row]:
        """Add the columns that the card makes: static ones, and the calendar's."""
        card, spans = self._card, pairwise(self._series.bounds.tolist())
        if not card.calendar and not card.static:
            return [Row(values[start:end]) for start, end in spans]
        past = np.empty((len(values), 0), np.float32)
        futures: Iterable[Array | None] = repeat(None)
        if card.calendar:
            past = cycle_features(times.moments(table.column(times.TIME)), card.calendar)
            ahead = cycle_features(times.moments(self._times[times.TIME]), card.calendar)
            futures = ahead.reshape(-1, card.horizon, ahead.shape[1])
        constants = static.read(table, self._series, card)
        return [
            Row(join(values[start:end], 0, constant, past[start:end]), future)
            for (start, end), constant, future in zip(spans, constants, futures, strict=False)
        ]

    def _go_on(self, table: pa.Table) -> dict[str, pa.Array]:
        card = self._card
        if times.TIME in table.column_names:
            frequency = Frequency.parse(card.frequency)
            column = table.column(times.TIME)
            return {times.TIME: times.go_on(column, self._series, frequency, card.horizon)}
        steps = np.tile(
            np.arange(1, card.horizon + 1, dtype=np.int64), len(self._series.bounds) - 1
        )
        return {STEP: pa.array(steps)}


def _check_card(card: ModelCard) -> None:
    if card.task is Task.CLASSIFY:
        raise InvalidRequest(
            "the table", "this model classifies, and a table is answered by forecasts; send JSON"
        )
    if card.given_known:
        names = ", ".join(card.given_known)
        raise InvalidRequest(
            "the table",
            f"this model needs covariates known ahead ({names:.200}), for which a table has no "
            "place; send application/json with future",
        )
    taken = {ID, times.TIME}.intersection((*card.given, *card.static))
    if taken:
        raise InvalidRequest(
            "the table", f"this model has a feature {min(taken)}; send application/json"
        )


def _check_schema(schema: pa.Schema, card: ModelCard) -> None:
    names = schema.names
    times_needed = (times.TIME,) if card.calendar else ()
    needed = (ID, *times_needed, *card.static, *card.given)
    wanted = {times.TIME, *needed}
    for place, name in enumerate(names):
        if name not in wanted:
            have = ", ".join((*card.static, *card.given))
            raise InvalidRequest(
                f"column {name!r:.66}",
                f"unknown; expected {ID}, {times.TIME} and the features {have:.200}",
            )
        if name in names[:place]:
            raise InvalidRequest(f"column {name!r:.66}", "is there twice")
    for name in needed:
        if name not in names:
            raise InvalidRequest(f"column {name!r:.66}", "is missing")
    _check_types(schema, card)


def _check_types(schema: pa.Schema, card: ModelCard) -> None:
    if not can_be_id(schema.field(ID).type):
        raise InvalidRequest(ID, f"expected strings or integers, got {schema.field(ID).type!s:.64}")
    if times.TIME in schema.names:
        times.check_type(schema.field(times.TIME).type, Frequency.parse(card.frequency))
    for name in (*card.static, *card.given):
        kind = schema.field(name).type
        if card.static.get(name) is not None:
            static.check_type(kind, name)
        elif not _is_numeric(kind):
            raise InvalidRequest(f"column {name!r:.66}", f"expected numbers, got {kind!s:.64}")


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _check_lengths(series: SeriesIndex, card: ModelCard) -> None:
    lengths = np.diff(series.bounds)
    wrong = (lengths < card.min_length) | (lengths > card.max_length)
    if wrong.any():
        number = int(wrong.argmax())
        raise InvalidSequence(
            series.place(number),
            f"expected {card.min_length} to {card.max_length} steps, got {lengths[number]}",
        )


def _matrix(table: pa.Table, card: ModelCard) -> Array:
    """Return (rows, given); null becomes NaN."""
    values = np.empty((table.num_rows, len(card.given)), np.float32)
    for number, name in enumerate(card.given):
        column = table.column(name)
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        numbers = column.to_numpy()
        if numbers.itemsize == 8:  # noqa: PLR2004  of large integers JSON makes a double first
            numbers = numbers.astype(np.float64, copy=False)
        # What is too large becomes infinite, which is refused with its place.
        with np.errstate(over="ignore", invalid="ignore"):
            values[:, number] = numbers
    return values


def _check_values(values: Array, series: SeriesIndex, card: ModelCard) -> None:
    """Refuse what the engine would, in the words of the table."""
    finite = np.isfinite(values)
    if finite.all():
        return
    wrong = np.isinf(values) if card.missing_values else ~finite
    if wrong.any():
        row, feature = divmod(int(wrong.argmax()), values.shape[1])
        raise unfit(series.place_of(row, card.given[feature]), values[row, feature])
    missing = np.isnan(values[:, : len(card.targets)]).all(axis=1)
    empty = np.logical_and.reduceat(missing, series.bounds[:-1])
    if empty.any():
        raise InvalidSequence(
            series.place(int(empty.argmax())),
            "every value is missing, which leaves nothing to go on from",
        )


def _column(values: NDArray[np.float32]) -> pa.Array:
    return pa.array(np.ascontiguousarray(values))
