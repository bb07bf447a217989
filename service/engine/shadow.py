"""Shadow traffic: a second version gets a copy of requests, and its answers are compared only."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from models.contract import ModelCard, Task
from service.engine.admission import check_rows
from service.engine.errors import EngineError
from service.engine.jobs import Answer, Array, Row, Ticket
from service.engine.loading import LoadedModel

MOST_SEQUENCES = 16  # of one request; the others are not compared
MOST_WAITING = 64  # requests; more are dropped
_ALIKE = ("task", "features", "known", "calendar", "static", "targets", "horizon", "classes")

Fate: TypeAlias = Literal["compared", "dropped", "failed"]


@dataclass(slots=True)
class Difference:
    """Absolute differences of the shadow's numbers of one target, in its unit."""

    count: int = 0
    total: float = 0.0  # absolute
    largest: float = 0.0

    @property
    def mean(self) -> float:
        """The mean absolute difference."""
        return self.total / self.count if self.count else 0.0

    def add(self, other: "Difference") -> None:
        """Add the differences of another sample."""
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)


Found: TypeAlias = Mapping[str, Difference]  # by target, or by class


class ShadowObserver(Protocol):
    """Is told, on the event loop, of every request that was sampled for a shadow."""

    def on_shadow(self, shadow: LoadedModel, fate: Fate, found: Found) -> None:
        """Note what became of a request, and the differences found."""


class _Asked(NamedTuple):
    model: LoadedModel  # which answered
    rows: list[Row]
    numbers: list[Array]  # that it answered, (horizon, targets) or (classes,)


@dataclass(slots=True, eq=False)
class Mirror:
    """
    Sends a share of the requests, once they are answered, to a shadow version as well.

    One request at a time, in the shadow's own threads, and only while no request waits for the
    version that answered: otherwise the copy is dropped.
    """

    model: LoadedModel
    share: float
    observer: ShadowObserver | None = None
    outcomes: dict[Fate, int] = field(
        default_factory=lambda: {"compared": 0, "dropped": 0, "failed": 0}
    )
    differences: dict[int, dict[str, Difference]] = field(default_factory=dict)  # by who answered
    _due: float = 0.0
    _waiting: deque[_Asked] = field(default_factory=deque)
    _ticket: Ticket | None = None

    def after(
        self, model: LoadedModel, rows: Sequence[Row], tell: Callable[[Ticket], None]
    ) -> Callable[[Ticket], None]:
        """Return a ``tell`` that calls the given one and then, if sampled, offers the request."""
        if not self._takes(model):
            return tell

        def told(ticket: Ticket) -> None:
            tell(ticket)
            asyncio.get_running_loop().call_soon(self._take, model, rows, ticket)

        return told

    def offer(self, model: LoadedModel, rows: Sequence[Row], answers: Sequence[Answer]) -> None:
        """Offer an answered request; if it is sampled, the shadow is asked later."""
        if self._takes(model):
            asyncio.get_running_loop().call_soon(self._enqueue, model, rows, answers)

    def _takes(self, model: LoadedModel) -> bool:
        if model is self.model:
            return False
        self._due += self.share
        if self._due < 1:
            return False
        self._due -= 1
        return True

    def _take(self, model: LoadedModel, rows: Sequence[Row], ticket: Ticket) -> None:
        if ticket.answered:  # else it failed, or its caller left
            self._enqueue(model, rows, ticket.result())

    def _enqueue(self, model: LoadedModel, rows: Sequence[Row], answers: Sequence[Answer]) -> None:
        """Queue a copy of the first rows, so that the rest of the request can be freed."""
        if len(self._waiting) >= MOST_WAITING:
            self._over("dropped")
            return
        part = [_copied(row) for row in rows[:MOST_SEQUENCES]]
        numbers = [_numbers(model.card, answer).copy() for answer in answers[:MOST_SEQUENCES]]
        self._waiting.append(_Asked(model, part, numbers))
        if self._ticket is None and len(self._waiting) == 1:
            self._next()

    def _next(self) -> None:
        """Ask the shadow the oldest request in the queue that may be asked."""
        while self._waiting and self._ticket is None:
            asked = self._waiting.popleft()
            if asked.model.batcher.waiting:
                self._over("dropped")
                continue
            try:
                check_rows(asked.rows, self.model.card)
                self._ticket = self.model.batcher.submit(
                    asked.rows, partial(self._told, asked), background=True
                )
            except EngineError:
                self._over("failed")

    def _told(self, asked: _Asked, ticket: Ticket) -> None:
        self._ticket = None
        try:
            answers = ticket.result()
            found = self._compare(asked, answers)
        except EngineError:
            self._over("failed")
        else:
            self._over("compared", found)
        finally:
            self.model.batcher.release(ticket)
            asyncio.get_running_loop().call_soon(self._next)

    def _compare(self, asked: _Asked, answers: Sequence[Answer]) -> Found:
        card = self.model.card
        here = np.stack([_numbers(card, answer) for answer in answers]).astype(np.float64)
        apart = np.abs(np.stack(asked.numbers) - here).reshape(-1, here.shape[-1])
        known = self.differences.setdefault(asked.model.entry.version, {})
        found = {}
        names = card.classes if card.task is Task.CLASSIFY else card.targets
        for name, column in zip(names, apart.T, strict=True):
            finite = column[np.isfinite(column)]
            largest = float(finite.max(initial=0.0))
            found[name] = Difference(len(finite), float(finite.sum()), largest)
            known.setdefault(name, Difference()).add(found[name])
        return found

    def _over(self, fate: Fate, found: Found | None = None) -> None:
        self.outcomes[fate] += 1
        if self.observer:
            self.observer.on_shadow(self.model, fate, found or {})


def unlike(card: ModelCard, other: ModelCard) -> str:
    """Name the fields in which a shadow's card differs from the other's and must not."""
    return ", ".join(name for name in _ALIKE if getattr(card, name) != getattr(other, name))


def _copied(row: Row) -> Row:
    future = None if row.future is None else row.future.copy()
    return replace(row, sequence=row.sequence.copy(), future=future, explain=False)


def _numbers(card: ModelCard, answer: Answer) -> Array:
    return answer.predictions if card.task is Task.CLASSIFY else answer.mean
