"""One step, or the history of a session that opens, on its way through the engine; no store."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from models.contract import StateKind
from service.engine.admission import check_rows
from service.engine.core import LoadedModel
from service.engine.errors import EngineError, NonFinitePrediction
from service.engine.jobs import Answer, Array, Timing
from service.sessions.stream import Stream, advance, answerable, ask, chunks


class Inputs(NamedTuple):
    """What a step brings, in the columns that the model reads."""

    values: Array  # (steps, features)
    future: Array | None = None  # (horizon, known)
    explain: bool = False


@dataclass(slots=True, eq=False)
class Advance:
    """A stream that is to read inputs; ``answer`` is None while it has too few for a forecast."""

    stream: Stream
    inputs: Inputs
    answer: Answer | None = None
    error: EngineError | None = None


async def take(model: LoadedModel, advances: Sequence[Advance]) -> Timing:
    """
    Let every stream read its inputs, in the same batches as all that others ask.

    What fails one stream, its values or its answer, is its ``error`` and leaves the others
    alone.  Raises Overloaded, InferenceFailed or EngineStopped, which fail all.
    """
    timing = Timing()
    waiting = [(each, chunks(model.card, each.inputs.values)) for each in advances]
    while waiting:
        ran = await _run(model, [(each, parts[0], len(parts) == 1) for each, parts in waiting])
        timing = Timing(timing.queue + ran.queue, timing.compute + ran.compute)
        waiting = [(each, parts[1:]) for each, parts in waiting if parts[1:] and not each.error]
    return timing


async def _run(model: LoadedModel, parts: Sequence[tuple[Advance, Array, bool]]) -> Timing:
    """Let each stream read one part of its inputs; of the last one the answer is kept."""
    card, asked, rows = model.card, [], []
    for each, values, last in parts:
        window = card.state.kind is StateKind.WINDOW
        if window and not answerable(each.stream, values, card):
            each.stream = advance(each.stream, values, None, card)
            continue
        row = ask(each.stream, values, each.inputs.future, card, explain=each.inputs.explain)
        try:
            check_rows([row], card)
        except EngineError as exc:
            each.error = exc
            continue
        asked.append((each, values, last))
        rows.append(row)
    answers, timing = await model.batcher.predict(rows)
    for (each, values, last), answer in zip(asked, answers, strict=True):
        if not answer.finite:
            each.error = NonFinitePrediction(0)
            continue
        told = last and answerable(each.stream, values, card)
        stream = advance(each.stream, values, answer, card)
        each.stream = stream if told else replace(stream, expected=None)
        each.answer = answer if told else None
    return timing
