"""Take steps: read the sessions, compute in shared batches, store in one transaction, answer."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.repository import Entry
from service.engine.core import Engine, LoadedModel
from service.engine.errors import EngineError
from service.sessions.claims import Caller, pinned, refusal
from service.sessions.codec import decode, encode
from service.sessions.errors import (
    OtherPayload,
    SessionError,
    StepRunning,
    StoreUnavailable,
    WrongStep,
)
from service.sessions.live import Live
from service.sessions.observer import Observer
from service.sessions.records import Found, Record
from service.sessions.shadows import Seen, Shadows
from service.sessions.steps import Advance, take
from service.sessions.store import Change, Conflict, Store, Stored
from service.sessions.stream import Stream
from service.sessions.turns import AT_ONCE, Forecast, Step, Taken, Told, Turn, rounds

Clock = Callable[[], float]
ABREAST = 3  # concurrent turns of a request: one is stored while the next is computed


class Aging(NamedTuple):
    """The clock, and how long after its last step a session expires."""

    idle_seconds: float
    clock: Clock

    def expiry(self, now: float) -> float:
        """
        Return when a session that was stepped ``now`` expires.

        The time is rounded up by as much as a hundredth of the idle time, so that most steps leave
        it, and the store's index of it, unchanged.
        """
        grain = self.idle_seconds / 100
        return math.ceil((now + self.idle_seconds) / grain) * grain


class Scoring(NamedTuple):
    """What is told how good the forecasts before each step were."""

    live: Live
    shadows: Shadows


@dataclass(slots=True, eq=False)
class _Work:
    """A step in progress: the stored session, its model, and the stream before and after."""

    step: Step
    before: Record
    model: LoadedModel
    advance: Advance
    stream: Stream  # before the step


class Stepper:
    """Take steps of the sessions of one store; two steps of a session never overlap here."""

    def __init__(
        self, engine: Engine, store: Store, scoring: Scoring, observer: Observer, aging: Aging
    ) -> None:
        self._engine = engine
        self._store = store
        self._scoring = scoring
        self._observer = observer
        self._aging = aging
        self._running: set[str] = set()

    async def take(
        self, tenant: str, steps: Sequence[Step], model: str | None = None
    ) -> list[Told]:
        """
        Take each step; return its answer or its error, in the order given.

        Steps of one session are taken one after the other, in the order given; steps of different
        sessions share batches and transactions.  A step that fails does not affect others.  If a
        ``model`` is named, sessions of other models are not found.
        """
        told: list[Told | None] = [None] * len(steps)
        room = self._engine.options.policy.max_waiting  # which one request never overflows
        abreast = min(ABREAST, room)
        caller, free = Caller(tenant, model), asyncio.Semaphore(abreast)

        async def take_turn(places: Sequence[int]) -> None:
            turn = Turn(caller, [steps[place] for place in places])
            async with free:
                await self._take_turn(turn)
            for place, step in zip(places, turn.steps, strict=True):
                told[place] = turn.told[step.session]

        for turns in rounds([step.session for step in steps], min(AT_ONCE, room // abreast)):
            if len(turns) == 1:
                await take_turn(turns[0])
                continue
            async with asyncio.TaskGroup() as group:
                for places in turns:
                    group.create_task(take_turn(places))
        return [outcome for outcome in told if outcome is not None]

    async def _take_turn(self, turn: Turn) -> None:
        """Take the steps of a turn, and set the answer or error of each."""
        started = time.perf_counter()
        with self._alone({step.session for step in turn.steps}) as free:
            for step in turn.steps:
                if step.session not in free:
                    turn.told[step.session] = StepRunning(step.session)
            try:
                await self._take(turn)
            except StoreUnavailable as exc:
                for step in turn.left:
                    turn.told[step.session] = exc
        self._observer.on_steps(turn.report(time.perf_counter() - started))

    @contextmanager
    def _alone(self, sessions: set[str]) -> Iterator[set[str]]:
        """Claim the sessions of which no step is being taken; release them at the end."""
        free = sessions - self._running
        self._running |= free
        try:
            yield free
        finally:
            self._running -= free

    async def _take(self, turn: Turn) -> None:
        """Set the result of each step left; raise StoreUnavailable if the store fails."""
        works: dict[Entry, list[_Work]] = {}
        for step, record in await self._read(turn, turn.left):
            try:
                work = await self._prepare(turn, step, record)
            except (SessionError, EngineError) as exc:
                turn.told[step.session] = exc
                continue
            if isinstance(work, Taken):
                turn.told[step.session] = work
            else:
                works.setdefault(work.model.entry, []).append(work)
        await asyncio.gather(*(_compute(each) for each in works.values()))
        done = []
        for work in (work for each in works.values() for work in each):
            if work.advance.error is None:
                done.append(work)
            else:
                turn.told[work.step.session] = work.advance.error
        if done:
            await self._finish(turn, done)

    async def _read(self, turn: Turn, steps: Sequence[Step]) -> list[tuple[Step, Found]]:
        """Return the steps, each with what is stored of its session."""
        if not steps:
            return []
        with turn.storing():
            found = await self._store.read([step.session for step in steps])
        return list(zip(steps, found, strict=True))

    async def _prepare(self, turn: Turn, step: Step, found: Found) -> "_Work | Taken":
        record = turn.caller.own(step.session, found)
        if replay := _again(step, record):
            return replay
        file = record.model, record.version, record.model_hash
        model = turn.models.get(file)
        if model is None:
            model = turn.models[file] = await pinned(self._engine, record)
        stream = decode(record.state, model.card)
        advance = Advance(stream, step.read(model.card, stream))
        return _Work(step, record, model, advance, stream)

    async def _finish(self, turn: Turn, done: Sequence["_Work"]) -> None:
        """Store all computed steps in one transaction, and only then set their answers."""
        now = self._aging.clock()
        records = [self._after(work, now) for work in done]
        changes = [
            Change(record, after=work.before.step)
            for record, work in zip(records, done, strict=True)
        ]
        with turn.storing():
            outcomes = await self._store.write(changes)
        behind: list[Step] = []
        scored: dict[Entry, list[_Work]] = {}
        for work, record, outcome in zip(done, records, outcomes, strict=True):
            if isinstance(outcome, Stored):
                turn.told[work.step.session] = Taken(record.answer)
                scored.setdefault(work.model.entry, []).append(work)
            elif isinstance(outcome, Conflict):
                behind.append(work.step)
            else:
                turn.told[work.step.session] = refusal(work.step.session, outcome)
        for works in scored.values():
            found = np.array([work.advance.stream.score for work in works])
            self._scoring.live.note(works[0].model, found - [work.stream.score for work in works])
            self._scoring.shadows.note(
                works[0].model,
                (
                    Seen(work.step.session, work.stream, work.advance.inputs, work.advance.stream)
                    for work in works
                ),
            )
        # Another process was first: either it took the same step, or the number is wrong.
        for step, kept in await self._read(turn, behind):
            turn.told[step.session] = _after_conflict(turn.caller, step, kept)

    def _after(self, work: _Work, now: float) -> Record:
        before, stream = work.before, work.advance.stream
        return Record(
            id=before.id,
            tenant=before.tenant,
            model=before.model,
            version=before.version,
            model_hash=before.model_hash,
            step=work.step.number,
            state=encode(stream),
            request=work.step.digest,
            answer=work.step.write(Forecast(stream, work.advance.answer), work.model),
            created=before.created,
            touched=now,
            expires=self._aging.expiry(now),
        )


def _again(step: Step, record: Record) -> Taken | None:
    """Return the stored answer if it is the last step, None if the next; else raise."""
    if step.number == record.step + 1:
        return None
    if step.number != record.step or not record.answer:
        raise WrongStep(step.number, record.step + 1)
    if step.digest != record.request:
        raise OtherPayload(step.number)
    return Taken(record.answer, replayed=True)


def _after_conflict(caller: Caller, step: Step, found: Found) -> Told:
    try:
        stored = caller.own(step.session, found)
        return _again(step, stored) or WrongStep(step.number, stored.step + 1)
    except SessionError as exc:
        return exc


async def _compute(works: Sequence[_Work]) -> None:
    """Advance the streams of one model; an error of all becomes the error of each."""
    try:
        await take(works[0].model, [work.advance for work in works])
    except EngineError as exc:
        for work in works:
            work.advance.error = exc
