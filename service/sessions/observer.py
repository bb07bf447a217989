"""Who is told of steps, of the store and of how good forecasts were: metrics, say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from service.sessions.score import Sums


@dataclass(frozen=True, slots=True)
class StepsReport:
    """How the steps of one transaction went."""

    taken: int = 0
    replayed: int = 0  # answered as they were before
    refused: int = 0
    store_seconds: float = 0.0  # reading and writing, of them all together
    seconds: float = 0.0  # and in all


class Observer(Protocol):
    """Hears of steps, on the event loop."""

    def on_steps(self, report: StepsReport) -> None:
        """Hear how steps went that shared a transaction."""

    def on_scored(self, model: str, version: int, found: Mapping[str, Sums]) -> None:
        """Hear what steps have shown of the forecasts before them, by target."""


class Nobody:
    """An observer that nothing is told to."""

    def on_steps(self, report: StepsReport) -> None:
        """Hear nothing."""

    def on_scored(self, model: str, version: int, found: Mapping[str, Sums]) -> None:
        """Hear nothing."""
