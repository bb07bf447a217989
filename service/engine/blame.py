"""Who of a batch made it fail: it is divided until they are alone. No clock, no tasks."""

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter

from service.engine.jobs import Answer, Job, Row


def answers(
    run: Callable[[Sequence[Row]], Sequence[Answer]], batch: Sequence[Job]
) -> Sequence[Answer | Exception]:
    """
    Return each job's answer, or what was raised when nobody else's rows were in the batch.

    A batch that fails is halved and run again, so that no request fails by its neighbours; one
    bad request of 64 costs twelve more runs, which together are of twice the batch.  Where all of
    a half have failed, those of the other are run one by one: a model that fails on everybody is
    asked 70 times for 64 requests, which is three times the batch.
    """
    try:
        said = run([job.row for job in batch])
        if len(said) == len(batch):
            return said
        failure: Exception = RuntimeError(f"{len(batch)} rows got {len(said)} answers.")
    except Exception as exc:  # noqa: BLE001  whatever a runner raises fails its requests only
        failure = exc
    if len({job.ticket for job in batch}) == 1:
        return [failure] * len(batch)
    middle = len(batch) // 2
    first, others = answers(run, batch[:middle]), [batch[middle:]]
    if all(isinstance(each, Exception) for each in first):
        others = [list(each) for _, each in groupby(batch[middle:], attrgetter("ticket"))]
    return [*first, *(each for part in others for each in answers(run, part))]
