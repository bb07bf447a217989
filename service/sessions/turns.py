"""Steps that are taken together: their interface, their order and their results."""

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

AT_ONCE = 128  # steps of one turn, which shares one read, one run and one write


@dataclass(frozen=True, slots=True)
class Session:
    """A stored session, and its stream decoded."""

    record: Record
    stream: Stream


class Forecast(NamedTuple):
    """A stream, and the model's answer after it; None while it has too few inputs."""

    stream: Stream
    answer: Answer | None


class Step(Protocol):
    """A step as a wire format has it: its session, its inputs, and how to write its answer."""

    @property
    def session(self) -> str:
        """The id of the session."""

    @property
    def number(self) -> int:
        """The number of the step, from 1."""

    @property
    def digest(self) -> bytes:
        """A digest of the payload: equal for equal payloads only."""

    def read(self, card: ModelCard, stream: Stream) -> Inputs:
        """Return its inputs for a stream; raise SessionError or EngineError."""

    def write(self, forecast: Forecast, model: LoadedModel) -> bytes:
        """Return the body of its answer, which is stored with the step."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to a step that was taken now or, ``replayed``, earlier."""

    body: bytes
    replayed: bool = False


Told = Taken | SessionError | EngineError | StoreUnavailable


class Turn:
    """Steps of different sessions that are taken together, and their results."""

    def __init__(self, caller: Caller, steps: Sequence[Step]) -> None:
        self.caller = caller
        self.steps = steps
        self.told: dict[str, Told] = {}  # results by session
        self.models: dict[tuple[str, int, str], LoadedModel] = {}  # by name, version and hash
        self._store_seconds = 0.0

    @property
    def left(self) -> list[Step]:
        """The steps without a result yet."""
        return [step for step in self.steps if step.session not in self.told]

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Add the time of the block to that of the store."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._store_seconds += time.perf_counter() - started

    def report(self, seconds: float) -> StepsReport:
        """Return the counts and times of the steps."""
        taken = [told for told in self.told.values() if isinstance(told, Taken)]
        replayed = sum(told.replayed for told in taken)
        refused = len(self.steps) - len(taken)
        return StepsReport(len(taken) - replayed, replayed, refused, self._store_seconds, seconds)


def rounds(sessions: Sequence[str], at_once: int = AT_ONCE) -> Iterator[list[list[int]]]:
    """
    Group steps, given the session of each, into rounds of turns; yield lists of step indices.

    No session is twice in a round, so that the turns of a round may run concurrently, and the
    steps of a session keep their order from round to round.
    """
    seen: dict[str, int] = {}
    found: list[list[int]] = []
    for place, session in enumerate(sessions):
        turn = seen[session] = seen.get(session, -1) + 1
        if turn == len(found):
            found.append([])
        found[turn].append(place)
    for places in found:
        yield [places[begin : begin + at_once] for begin in range(0, len(places), at_once)]
