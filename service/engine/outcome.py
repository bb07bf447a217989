"""What became of one batch: its answers and its failures, when it ran, and whose it was."""

from collections.abc import Sequence
from typing import NamedTuple

from service.engine.jobs import Answer, Job
from service.engine.observer import BatchReport


class Outcome(NamedTuple):
    """What a runner said to a batch, whatever it said; times are the batcher's clock's."""

    said: Sequence[Answer | Exception]  # to each job
    taken_at: float  # when the batch left the queue
    started_at: float  # when it began to run
    seconds: float  # that it ran

    def report(self, batch: Sequence[Job]) -> BatchReport:
        """Return what observers are told."""
        lengths = [job.length for job in batch]
        return BatchReport(
            len(batch),
            sum(lengths),
            max(lengths) * len(lengths),
            self.seconds,
            sum(isinstance(each, Exception) for each in self.said),
            self.taken_at,
            self.started_at,
            _origins(batch),
        )


def _origins(batch: Sequence[Job]) -> tuple[tuple[object, float], ...]:
    """Return the origins of a batch's requests that have one, and when each began to wait."""
    found = {
        job.ticket: (job.ticket.origin, job.enqueued_at)
        for job in batch
        if job.ticket.origin is not None
    }
    return tuple(found.values())
