"""The interface for metrics: who is told of batches and of the queue."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one batch was and cost."""

    size: int
    steps: int  # valid time steps
    padded_steps: int  # time steps after padding
    seconds: float
    failed: int  # sequences that the model failed on
    taken_at: float = field(default=0.0, compare=False)  # by the batcher's clock
    started_at: float = field(default=0.0, compare=False)
    # The origin of each request in it that has one, and when it was queued.
    origins: tuple[tuple[object, float], ...] = ()


class Observer(Protocol):
    """Hears of every batch and of every change of the queue, on the event loop."""

    def on_batch(self, report: BatchReport) -> None:
        """Hear of a batch that ended."""

    def on_waiting(self, waiting: int) -> None:
        """Hear how many sequences wait."""
