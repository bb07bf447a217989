"""Advance streams by running their models on new inputs; no store."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from models.contract import StateKind
from service.engine.admission import unfit_steps
from service.engine.core import LoadedModel
from service.engine.errors import EngineError, InferenceFailed, NonFinitePrediction
from service.engine.jobs import Answer, Array, Row
from service.sessions.stream import Read, Stream, advance, answerable, ask, chunks


class Inputs(NamedTuple):
    """The inputs of a step, in the columns that the model reads."""

    values: Array  # (steps, features)
    future: Array | None = None  # (horizon, known)
    explain: bool = False


@dataclass(slots=True, eq=False)
class Advance:
    """A stream and its new inputs; ``answer`` is None while there are too few for a forecast."""

    stream: Stream
    inputs: Inputs
    answer: Answer | None = None
    error: EngineError | None = None


async def take(
    model: LoadedModel, advances: Sequence[Advance], *, background: bool = False
) -> None:
    """
    Have every stream read its inputs, in batches shared with all other requests.

    An error of one stream, in its values or its answer, becomes its ``error`` and does not affect
    the others.  Raises Overloaded or EngineStopped, which fail all.
    """
    values = [each.inputs.values for each in advances]
    futures = [each.inputs.future for each in advances]
    for place, unfit in unfit_steps(values, futures, model.card).items():
        advances[place].error = unfit
    waiting = [
        (each, chunks(model.card, each.inputs.values)) for each in advances if not each.error
    ]
    while waiting:
        turn = [(each, parts[0], len(parts) == 1) for each, parts in waiting]
        await _run(model, turn, background=background)
        waiting = [(each, parts[1:]) for each, parts in waiting if parts[1:] and not each.error]


async def _run(
    model: LoadedModel, parts: Sequence[tuple[Advance, Array, bool]], *, background: bool
) -> None:
    """Have each stream read one part of its inputs; the answer to the last part is kept."""
    card = model.card
    recurrent = card.state.kind is StateKind.RECURRENT
    reads: list[tuple[Advance, Read]] = []
    asked, rows = [], []
    for each, values, last in parts:
        told = answerable(each.stream, values, card)
        if recurrent or told:
            asked.append((each, values, last and told))
            future, explain = each.inputs.future, each.inputs.explain
            rows.append(ask(each.stream, values, future, card, explain=explain))
        else:
            reads.append((each, Read(each.stream, values, None, told=False)))
    answers = await _answers(model, rows, background=background)
    for (each, values, told), answer in zip(asked, answers, strict=True):
        if isinstance(answer, InferenceFailed):
            each.error = answer
        elif answer.finite:
            reads.append((each, Read(each.stream, values, answer, told)))
        else:
            each.error = NonFinitePrediction(0, "values")
    for (each, read), stream in zip(reads, advance([r for _, r in reads], card), strict=True):
        each.stream, each.answer = stream, read.answer if read.told else None


async def _answers(
    model: LoadedModel, rows: Sequence[Row], *, background: bool
) -> Sequence[Answer | InferenceFailed]:
    """Ask for all at once and, where the model fails on them, for each by itself."""

    async def alone(row: Row) -> Answer | InferenceFailed:
        try:
            (answer,), _ = await model.batcher.predict([row], background=background)
        except InferenceFailed as exc:
            return exc
        return answer

    try:
        answers, _ = await model.batcher.predict(rows, background=background)
    except InferenceFailed as exc:
        return await asyncio.gather(*map(alone, rows)) if len(rows) > 1 else [exc]
    return answers
