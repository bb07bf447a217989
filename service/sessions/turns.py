"""Steps that came together: what each is, in which order they are taken, what each is told."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from models.contract import ModelCard
from service.engine.core import LoadedModel
from service.engine.errors import EngineError
from service.engine.jobs import Answer
from service.sessions.claims import Caller
from service.sessions.errors import SessionError, StoreUnavailable
from service.sessions.observer import StepsReport
from service.sessions.records import Record
from service.sessions.steps import Inputs
from service.sessions.stream import Stream

AT_ONCE = 128  # steps of one turn: one read, one run, one write


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it is stored, and its stream."""

    record: Record
    stream: Stream


class Forecast(NamedTuple):
    """A stream, and what the model says after it; None while it has too few inputs."""

    stream: Stream
    answer: Answer | None


class Step(Protocol):
    """What a wire format makes of one step: whose it is, what it brings, how it is answered."""

    @property
    def session(self) -> str:
        """The id."""

    @property
    def number(self) -> int:
        """Which step this is, from 1."""

    @property
    def digest(self) -> bytes:
        """What is equal exactly for equal payloads."""

    def read(self, card: ModelCard, stream: Stream) -> Inputs:
        """Return what it brings to the stream; raise SessionError or EngineError."""

    def write(self, forecast: Forecast, model: LoadedModel) -> bytes:
        """Return the body that answers it, once the session has taken it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that was taken: now, or (``replayed``) when it was asked before."""

    body: bytes
    replayed: bool = False


Told = Taken | SessionError | EngineError | StoreUnavailable


class Turn:
    """Steps of different sessions on their way, and what each is told."""

    def __init__(self, caller: Caller, steps: Sequence[Step]) -> None:
        self.caller = caller
        self.steps = steps
        self.told: dict[str, Told] = {}  # by session
        self.models: dict[tuple[str, int, str], LoadedModel] = {}  # by name, version and hash
        self._store_seconds = 0.0

    @property
    def left(self) -> list[Step]:
        """The steps that were told nothing yet."""
        return [step for step in self.steps if step.session not in self.told]

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Measure what the store takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._store_seconds += time.perf_counter() - started

    def report(self, seconds: float) -> StepsReport:
        """Return how the steps went."""
        taken = [told for told in self.told.values() if isinstance(told, Taken)]
        replayed = sum(told.replayed for told in taken)
        refused = len(self.steps) - len(taken)
        return StepsReport(len(taken) - replayed, replayed, refused, self._store_seconds, seconds)


def rounds(sessions: Sequence[str]) -> Iterator[list[list[int]]]:
    """
    Yield rounds of turns of the places of steps, given whose each is.

    No session comes twice in one round, so that its turns may go side by side, and the steps of
    a session keep their order from round to round.
    """
    seen: dict[str, int] = {}
    found: list[list[int]] = []
    for place, session in enumerate(sessions):
        turn = seen[session] = seen.get(session, -1) + 1
        if turn == len(found):
            found.append([])
        found[turn].append(place)
    for places in found:
        yield [places[begin : begin + AT_ONCE] for begin in range(0, len(places), AT_ONCE)]
