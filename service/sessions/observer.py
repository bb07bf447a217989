"""The interface for metrics of sessions: steps, times of the store, errors of forecasts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from service.sessions.score import Sums


@dataclass(frozen=True, slots=True)
class StepsReport:
    """The results and times of the steps of one transaction."""

    taken: int = 0
    replayed: int = 0  # repeated, and given the stored answer
    refused: int = 0
    store_seconds: float = 0.0  # reading and writing, of them all together
    seconds: float = 0.0  # and in all


@dataclass(frozen=True, slots=True)
class PairedErrors:
    """Sums of absolute errors of a shadow and of the version that answered, over the same steps."""

    steps: float = 0.0
    shadow: float = 0.0
    primary: float = 0.0

    def plus(self, other: "PairedErrors") -> "PairedErrors":
        """Return the sums of both."""
        return PairedErrors(
            self.steps + other.steps, self.shadow + other.shadow, self.primary + other.primary
        )


class Observer(Protocol):
    """Is told of steps, on the event loop."""

    def on_steps(self, report: StepsReport) -> None:
        """Note the steps of one transaction."""

    def on_scored(self, model: str, version: int, found: Mapping[str, Sums]) -> None:
        """Note the scores, by target, of forecasts whose actuals have come."""

    def on_shadow_scored(self, model: str, version: int, found: Mapping[str, PairedErrors]) -> None:
        """Note the errors, by target, of a shadow and of the version that answered."""


class NullObserver:
    """An observer that does nothing."""

    def on_steps(self, report: StepsReport) -> None:
        """Hear nothing."""

    def on_scored(self, model: str, version: int, found: Mapping[str, Sums]) -> None:
        """Hear nothing."""

    def on_shadow_scored(self, model: str, version: int, found: Mapping[str, PairedErrors]) -> None:
        """Hear nothing."""
