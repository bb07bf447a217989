"""A stream between two steps, and how a step changes it: pure, no store, no clock, no tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from models.contract import ModelCard, StateKind, Task
from models.frequency import Frequency
from models.seasonal import seasonal_naive
from service.engine.jobs import Answer, Array, Row
from service.sessions.score import Expected, Sums, nothing, scored


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """
    What a session keeps between two steps: all that its next answer depends on.

    ``window`` holds the last inputs, (steps, features), of a model that needs its whole window;
    ``tensors`` what the graph of a recurrent one carries, name -> shape of the card.  ``past``
    has the targets of the last season, oldest first, (steps, targets), for seasonal naive.
    """

    window: Array
    past: Array
    score: Sums
    count: int = 0  # inputs read in all
    start: datetime | None = None  # of the first of them
    static: Mapping[str, float | str] | None = None
    tensors: Mapping[str, Array] = field(default_factory=dict)
    expected: Expected | None = None  # None: nothing was forecast for the next input


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


def season(card: ModelCard) -> int:
    """Return the season in steps that the card's accuracy was held against."""
    measured = getattr(card.accuracy, "season", None)
    return measured or Frequency.parse(card.frequency).season


def chunks(card: ModelCard, inputs: Array) -> list[Array]:
    """Cut inputs (steps, features) into what single runs read; the last one's answer counts."""
    if card.state.kind is StateKind.WINDOW or len(inputs) <= card.max_length:
        return [inputs]
    return np.split(inputs, range(card.max_length, len(inputs), card.max_length))


def missing_steps(stream: Stream, inputs: Array, card: ModelCard) -> int:
    """Return how many more inputs it takes, after these, until there is a prediction."""
    return max(0, card.min_length - stream.count - len(inputs))


def answerable(stream: Stream, inputs: Array, card: ModelCard) -> bool:
    """Return whether the model would be asked for a forecast after these inputs."""
    if missing_steps(stream, inputs, card):
        return False
    if card.state.kind is StateKind.RECURRENT:
        return True
    goes_on_from = _window(stream, inputs, card)[:, : len(card.targets) or None]
    return not np.isnan(goes_on_from).all()


def ask(
    stream: Stream, inputs: Array, future: Array | None, card: ModelCard, *, explain: bool = False
) -> Row:
    """Return what the engine is asked after reading inputs (steps, features) on top."""
    if card.state.kind is StateKind.RECURRENT:
        return Row(inputs, future, explain, state=stream.tensors or None, carry=True)
    return Row(_window(stream, inputs, card), future, explain)


def advance(stream: Stream, inputs: Array, answer: Answer | None, card: ModelCard) -> Stream:
    """
    Return the stream after inputs (steps, features) and the answer to them.

    None is the answer of a window that is not long enough yet, or of one that is not of interest.
    """
    score, past, expected = stream.score, stream.past, None
    long_enough = not missing_steps(stream, inputs, card)
    if card.task is Task.FORECAST:
        targets = inputs[:, : len(card.targets)]
        if stream.expected is not None:
            score = score + scored(stream.expected, targets[0])
        past = np.concatenate([past, targets])[-season(card) :]
        expected = _expected(answer, past, card) if answer and long_enough else None
    recurrent = card.state.kind is StateKind.RECURRENT
    return replace(
        stream,
        window=stream.window if recurrent else _window(stream, inputs, card),
        past=past,
        score=score,
        count=stream.count + len(inputs),
        tensors=answer.state if recurrent and answer and answer.state else stream.tensors,
        expected=expected,
    )


def _window(stream: Stream, inputs: Array, card: ModelCard) -> Array:
    return np.concatenate([stream.window, inputs])[-card.max_length :]


def _expected(answer: Answer, past: Array, card: ModelCard) -> Expected:
    first, origin = np.zeros(1, np.int64), np.array([len(past) - 1])
    naive = seasonal_naive(past, origin, first, 1, season(card))[0, 0]
    levels = answer.predictions[0]  # (targets, quantiles)
    return Expected(answer.mean[0], levels[:, 0], levels[:, -1], naive)
