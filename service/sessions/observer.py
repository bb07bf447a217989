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


@dataclass(frozen=True, slots=True)
class PairedErrors:
    """Sums of absolute errors of a shadow's forecasts and of those given, over the same steps."""

    steps: float = 0.0
    shadow: float = 0.0
    primary: float = 0.0

    def plus(self, other: "PairedErrors") -> "PairedErrors":
        """Return both together."""
        return PairedErrors(
            self.steps + other.steps, self.shadow + other.shadow, self.primary + other.primary
        )


class Observer(Protocol):
    """Hears of steps, on the event loop."""

    def on_steps(self, report: StepsReport) -> None:
        """Hear how steps went that shared a transaction."""

    def on_scored(self, model: str, version: int, found: Mapping[str, Sums]) -> None:
        """Hear what steps have shown of the forecasts before them, by target."""

    def on_shadow_scored(self, model: str, version: int, found: Mapping[str, PairedErrors]) -> None:
        """Hear what they have shown of a shadow's, beside those given."""


class NullObserver:
    """An observer that nothing is told to."""

    def on_steps(self, report: StepsReport) -> None:
        """Hear nothing."""

    def on_scored(self, model: str, version: int, found: Mapping[str, Sums]) -> None:
        """Hear nothing."""

    def on_shadow_scored(self, model: str, version: int, found: Mapping[str, PairedErrors]) -> None:
        """Hear nothing."""
