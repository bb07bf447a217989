"""Of a batch that fails, nobody fails who would not fail alone."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine import blame
from service.engine.jobs import Answer, Job, Row, Ticket

NOTHING = np.empty(0, np.float32)


class Picky:
    """A runner that fails on batches in which there is a row of 0; it counts its work."""

    def __init__(self) -> None:
        self.runs = self.rows = 0
        self.failed: list[Sequence[Row]] = []

    def __call__(self, rows: Sequence[Row]) -> list[Answer]:
        self.runs += 1
        self.rows += len(rows)
        if any(row.sequence[0, 0] == 0 for row in rows):
            self.failed.append(rows)
            raise RuntimeError("a row of 0")
        return [Answer(row.sequence, NOTHING) for row in rows]


def batch(requests: Sequence[Sequence[int]]) -> list[Job]:
    """Return the jobs of requests, each given by the numbers of its rows."""
    rows = [[Row(np.full((1, 1), number, np.float32)) for number in each] for each in requests]
    return [job for each in rows for job in Ticket(each, 0.0, lambda _: None).jobs]


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=20))
def test_a_request_fails_only_if_a_run_of_its_rows_alone_has_failed(requests):
    run, jobs = Picky(), batch(requests)
    said = blame.answers(run, jobs)
    tickets = {id(job.row): job.ticket for job in jobs}
    alone = [{tickets[id(row)] for row in rows} for rows in run.failed]
    for job, answer in zip(jobs, said, strict=True):
        if isinstance(answer, Exception):
            assert {job.ticket} in alone
        else:
            assert answer.predictions is job.row.sequence
    bad = {job.ticket for job in jobs if job.row.sequence[0, 0] == 0}
    failed = {job.ticket for job, answer in zip(jobs, said, strict=True) if _failed(answer)}
    assert failed == bad


def _failed(answer: Answer | Exception) -> bool:
    return isinstance(answer, Exception)


@pytest.mark.parametrize("place", [0, 1, 31, 32, 63])
def test_one_bad_request_costs_its_batch_twice_more(place):
    run = Picky()
    blame.answers(run, batch([[int(other != place)] for other in range(64)]))
    assert (run.runs, run.rows) == (1 + 12, 64 + 126)


def test_a_model_that_fails_on_everybody_is_hardly_asked_more_than_once_for_each():
    run = Picky()
    blame.answers(run, batch([[0]] * 64))
    assert (run.runs, run.rows) == (70, 190)


def test_whoever_is_in_it_a_batch_is_run_less_than_twice_as_often_as_it_has_requests():
    for requests in ([[0], [1]] * 32, [[0]] * 32 + [[1]] * 32, [[1]] * 32 + [[0]] * 32):
        run = Picky()
        blame.answers(run, batch(requests))
        assert run.runs < 2 * 64
