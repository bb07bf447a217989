"""Ask another version too, unseen, and measure by how much it differs; it never answers anybody."""

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
    """By how much the shadow's numbers of one target differ; in the target's unit."""

    count: int = 0
    total: float = 0.0  # absolute
    largest: float = 0.0

    @property
    def mean(self) -> float:
        """The mean absolute difference."""
        return self.total / self.count if self.count else 0.0

    def add(self, other: "Difference") -> None:
        """Take in what else was found."""
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)


Found: TypeAlias = Mapping[str, Difference]  # by target, or by class


class ShadowObserver(Protocol):
    """Hears of every request that a shadow was to be asked, on the event loop."""

    def on_shadow(self, shadow: LoadedModel, fate: Fate, found: Found) -> None:
        """Hear what became of one, and by how much its answers differ."""


class _Asked(NamedTuple):
    model: LoadedModel  # which answered
    rows: list[Row]
    numbers: list[Array]  # that it answered, (horizon, targets) or (classes,)


@dataclass(slots=True, eq=False)
class Mirror:
    """
    Asks one version what another one has answered, for a share of the requests.

    One request at a time, when it has been answered, in a thread of the shadow's own, and only
    while nobody waits for the version that answers: what cannot be asked then is dropped.
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
        """Return what tells a request its answer, and only then, maybe, has the shadow asked."""
        if not self._takes(model):
            return tell

        def told(ticket: Ticket) -> None:
            tell(ticket)
            asyncio.get_running_loop().call_soon(self._take, model, rows, ticket)

        return told

    def offer(self, model: LoadedModel, rows: Sequence[Row], answers: Sequence[Answer]) -> None:
        """Have the shadow asked, maybe, what was answered just now."""
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
        """Copy a part of a request, so that nothing of the rest of it stays in memory."""
        if len(self._waiting) >= MOST_WAITING:
            self._over("dropped")
            return
        part = [_copied(row) for row in rows[:MOST_SEQUENCES]]
        numbers = [_numbers(model.card, answer).copy() for answer in answers[:MOST_SEQUENCES]]
        self._waiting.append(_Asked(model, part, numbers))
        if self._ticket is None and len(self._waiting) == 1:
            self._next()

    def _next(self) -> None:
        """Ask what has waited longest and may be asked."""
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
    """Say in which fields two cards differ that must not, where one model shadows the other."""
    return ", ".join(name for name in _ALIKE if getattr(card, name) != getattr(other, name))


def _copied(row: Row) -> Row:
    future = None if row.future is None else row.future.copy()
    return replace(row, sequence=row.sequence.copy(), future=future, explain=False)


def _numbers(card: ModelCard, answer: Answer) -> Array:
    return answer.predictions if card.task is Task.CLASSIFY else answer.mean
