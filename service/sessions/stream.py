"""The state of a stream and how inputs change it: no store, no clock, no tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np

from models.contract import ModelCard, StateKind, Task
from models.seasonal import seasonal_naive
from service.engine.jobs import Answer, Array, Row
from service.sessions.score import Expected, Sums, nothing, scored


@dataclass(slots=True, eq=False)
class Stream:
    """
    What a session keeps between two steps, on which all later answers depend; never modified.

    ``window`` holds the last inputs, (steps, features), of a model that reads whole windows;
    ``state`` (size,) is that of a recurrent model's graph.  ``past`` holds the targets of the last
    season, oldest first, (steps, targets), for seasonal naive.
    """

    window: Array
    past: Array
    score: Sums  # (4, targets)
    count: int = 0  # inputs read in all
    start: datetime | None = None  # of the first of them
    static: Mapping[str, float | str] | None = None
    state: Array | None = None  # None: nothing was read
    expected: Expected | None = None  # (4, targets); None: nothing was forecast for the next input


class Read(NamedTuple):
    """A stream, the inputs (steps, features) it has read, and the model's answer to them."""

    stream: Stream
    inputs: Array
    answer: Answer | None  # None: the model was not run, for the window is too short or empty
    told: bool  # whether the answer is a forecast that the caller gets


def begin(
    card: ModelCard,
    *,
    start: datetime | None = None,
    static: Mapping[str, float | str] | None = None,
) -> Stream:
    """Return a stream that has read nothing."""
    targets = len(card.targets)
    return Stream(
        np.empty((0, len(card.features)), np.float32),
        np.empty((0, targets), np.float32),
        nothing(targets),
        start=start,
        static=static,
    )


def chunks(card: ModelCard, inputs: Array) -> list[Array]:
    """Cut inputs (steps, features) into parts for single runs; the last answer counts."""
    if card.state.kind is StateKind.WINDOW or len(inputs) <= card.max_length:
        return [inputs]
    return np.split(inputs, range(card.max_length, len(inputs), card.max_length))


def missing_steps(stream: Stream, card: ModelCard, coming: int = 0) -> int:
    """Return how many inputs are missing for a forecast after ``coming`` more."""
    missing = card.min_length - stream.count - coming
    return missing if missing > 0 else 0  # noqa: FURB136  this is asked for every step


def answerable(stream: Stream, inputs: Array, card: ModelCard) -> bool:
    """Return whether the model can forecast after these inputs."""
    if missing_steps(stream, card, len(inputs)):
        return False
    if card.state.kind is StateKind.RECURRENT:
        return True
    goes_on_from = _window(stream, inputs, card)[:, : len(card.targets) or None]
    return not np.isnan(goes_on_from).all()


def ask(
    stream: Stream, inputs: Array, future: Array | None, card: ModelCard, *, explain: bool = False
) -> Row:
    """Return the engine's row for a stream and new inputs (steps, features)."""
    if card.state.kind is StateKind.RECURRENT:
        return Row(inputs, future, explain, stream.state, carry=True)
    return Row(_window(stream, inputs, card), future, explain)


def advance(reads: Sequence[Read], card: ModelCard) -> list[Stream]:
    """Return each stream after its inputs, with its last forecast scored and the next kept."""
    if card.task is Task.FORECAST:
        scores, pasts, expected = _scores(reads, card), _pasts(reads, card), _expected(reads, card)
    else:
        scores, pasts = [r.stream.score for r in reads], [r.stream.past for r in reads]
        expected = [None] * len(reads)
    recurrent = card.state.kind is StateKind.RECURRENT
    return [
        Stream(
            stream.window if recurrent else _window(stream, inputs, card),
            past,
            score,
            stream.count + len(inputs),
            stream.start,
            stream.static,
            answer.state if answer is not None and recurrent else stream.state,
            coming,
        )
        for (stream, inputs, answer, _), score, past, coming in zip(
            reads, scores, pasts, expected, strict=True
        )
    ]


def _window(stream: Stream, inputs: Array, card: ModelCard) -> Array:
    return np.concatenate([stream.window, inputs])[-card.max_length :]


def _scores(reads: Sequence[Read], card: ModelCard) -> list[Sums]:
    """Return the scores of each stream, with that of its last forecast added."""
    scores = [stream.score for stream, *_ in reads]
    due = [place for place, read in enumerate(reads) if read.stream.expected is not None]
    if due:
        expected = np.array([reads[place].stream.expected for place in due])
        actual = np.array([reads[place].inputs[0, : len(card.targets)] for place in due])
        for place, found in zip(due, scored(expected, actual), strict=True):
            scores[place] = scores[place] + found
    return scores


def _pasts(reads: Sequence[Read], card: ModelCard) -> list[Array]:
    """Return the targets of the last season of each stream, the new ones included."""
    targets, length = len(card.targets), card.season
    return [
        np.concatenate([stream.past, inputs[:, :targets]])[-length:] for stream, inputs, *_ in reads
    ]


def _expected(reads: Sequence[Read], card: ModelCard) -> list[Expected | None]:
    """Return the forecast of each stream's next step; None where the caller gets none."""
    found: list[Expected | None] = [None] * len(reads)
    told = [place for place, read in enumerate(reads) if read.told and read.answer]
    if told:
        answers = [answer for read in reads if read.told and (answer := read.answer)]
        levels = np.array([answer.predictions[0] for answer in answers])  # (n, targets, levels)
        means = np.array([answer.mean[0] for answer in answers])
        length = card.season
        naive = np.array([_naive(reads[place], length, len(card.targets)) for place in told])
        for place, each in zip(
            told, np.stack([means, levels[:, :, 0], levels[:, :, -1], naive], axis=1), strict=True
        ):
            found[place] = each
    return found


def _naive(read: Read, length: int, targets: int) -> Array:
    """Return seasonal naive's forecast of the step after what was read, (targets,)."""
    back = len(read.inputs) - length  # where the value of a season ago lies
    if back >= 0:
        repeated = read.inputs[back, :targets]
    elif len(read.stream.past) >= -back:
        repeated = read.stream.past[back]
    else:
        repeated = read.inputs[-1, :targets]
    if not np.isnan(repeated).any():
        return repeated
    values = np.concatenate([read.stream.past, read.inputs[:, :targets]])
    first, origin = np.zeros(1, np.int64), np.array([len(values) - 1])
    forecast: Array = seasonal_naive(values, origin, first, 1, length)[0, 0]
    return forecast
