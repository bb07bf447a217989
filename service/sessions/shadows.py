"""Shadows of sessions: a shadow version reads the same steps, and both errors are compared."""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from models.contract import ModelCard, StateKind
from service.engine.core import Engine, LoadedModel
from service.engine.errors import EngineError
from service.engine.shadow import Mirror
from service.engine.traffic import place
from service.sessions.live import most
from service.sessions.observer import Observer, PairedErrors
from service.sessions.score import ERROR, STEPS, Sums, nothing
from service.sessions.steps import Advance, Inputs, take
from service.sessions.stream import Stream

MOST_FOLLOWED = 1_000  # sessions of one shadow; those that stepped longest ago are dropped
MOST_WAITING = 256  # steps; more are dropped

log = logging.getLogger(__name__)


class Seen(NamedTuple):
    """The inputs of a step, and the stream before and after it."""

    session: str
    before: Stream
    inputs: Inputs
    after: Stream


@dataclass(slots=True, eq=False)
class _Followed:
    """One shadow: its stream of each session it follows, and the errors found."""

    mirror: Mirror
    streams: OrderedDict[str, Stream] = field(default_factory=OrderedDict)
    found: dict[int, dict[str, PairedErrors]] = field(default_factory=dict)  # by who answered


class Shadows:
    """
    The streams of the sessions that shadows follow, kept in memory only.

    A shadow follows a share of the sessions, the same ones in every process.  A recurrent shadow
    can follow a session from its first step only; one that reads windows may join later, if the
    version that answers reads windows of the same length.  It loses a session when a step was
    taken by another process, or was dropped because others wait.
    """

    def __init__(self, engine: Engine, observer: Observer) -> None:
        self._engine = engine
        self._observer = observer
        self._followed: dict[str, _Followed] = {}
        self._waiting: deque[tuple[_Followed, LoadedModel, Seen]] = deque()
        self._task: asyncio.Task[None] | None = None

    def note(self, model: LoadedModel, seen: Iterable[Seen]) -> None:
        """Queue steps that were stored just now for the shadow of their model, if it has one."""
        self._forget_ended()
        name = model.entry.name
        mirror = self._engine.mirror(name)
        if mirror is None or mirror.model is model:
            return
        followed = self._followed.get(name)
        if followed is None or followed.mirror is not mirror:
            followed = self._followed[name] = _Followed(mirror)
        sampled = [each for each in seen if place(each.session) < mirror.share]
        room = MOST_WAITING - len(self._waiting)
        self._waiting.extend((followed, model, each) for each in sampled[:room])
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._work(), name="shadows")
            self._task.add_done_callback(_log_failure)

    def of(self, name: str) -> Mapping[int, Mapping[str, PairedErrors]]:
        """Return the errors found by a model's shadow, by the version that answered and target."""
        followed = self._followed.get(name)
        present = followed is not None and followed.mirror is self._engine.mirror(name)
        return followed.found if followed and present else {}

    async def close(self) -> None:
        """Drop what waits, and end the task."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _forget_ended(self) -> None:
        """Drop what was kept of shadows that are no longer asked, and with it their models."""
        mirror_of = self._engine.mirror
        for name in [
            name for name, each in self._followed.items() if mirror_of(name) is not each.mirror
        ]:
            del self._followed[name]

    async def _work(self) -> None:
        while self._waiting:
            followed, model, seen = self._waiting.popleft()
            if model.batcher.waiting:  # requests go first; the shadow loses this session
                continue
            try:
                await self._follow(followed, model, seen)
            except EngineError as exc:
                log.info("a shadow could not read a step: %s", exc)

    async def _follow(self, followed: _Followed, model: LoadedModel, seen: Seen) -> None:
        shadow = followed.mirror.model
        stream = followed.streams.pop(seen.session, None)
        if stream is None or stream.count != seen.before.count:
            stream = _joined(seen.before, model.card, shadow.card)
        if stream is None:
            return
        advance = Advance(stream, seen.inputs._replace(explain=False))
        await take(shadow, [advance], background=True)
        if advance.error is not None:
            return
        followed.streams[seen.session] = advance.stream
        if len(followed.streams) > MOST_FOLLOWED:
            followed.streams.popitem(last=False)
        ours, theirs = advance.stream.score - stream.score, seen.after.score - seen.before.score
        self._compare(followed, model, ours, theirs)

    def _compare(self, followed: _Followed, model: LoadedModel, ours: Sums, theirs: Sums) -> None:
        """Add the errors of targets for which both had forecast the step that came."""
        both = (ours[STEPS] > 0) & (theirs[STEPS] > 0)
        if not both.any():
            return
        bound = most(model.card)
        steps = np.where(both, theirs[STEPS], 0.0)
        errors = [np.where(both, np.minimum(each, bound)[ERROR], 0.0) for each in (ours, theirs)]
        found = {
            target: PairedErrors(float(count), float(shadow), float(primary))
            for target, count, shadow, primary in zip(
                model.card.targets, steps, *errors, strict=True
            )
        }
        known = followed.found.setdefault(model.entry.version, {})
        for target, each in found.items():
            known[target] = known.get(target, PairedErrors()).plus(each)
        entry = followed.mirror.model.entry
        self._observer.on_shadow_scored(entry.name, entry.version, found)


def _joined(before: Stream, card: ModelCard, shadow: ModelCard) -> Stream | None:
    """Return the shadow's stream for what a session has read so far; None if it cannot join."""
    if not before.count:
        return replace(before, state=None)
    windows = StateKind.WINDOW
    if card.state.kind is shadow.state.kind is windows and card.max_length == shadow.max_length:
        return replace(before, expected=None, score=nothing(len(shadow.targets)))
    return None


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        log.error("what sessions read could not be shadowed", exc_info=task.exception())
