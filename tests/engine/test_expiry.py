"""No batch starts for those whose time is up, and they hide nobody."""

import math

import pytest

from service.engine.batcher import Batcher
from service.engine.jobs import EXPIRES, Ticket
from service.engine.lanes import Lanes
from service.engine.scheduler import BatchPolicy, Scheduler
from tests.doubles import HeldRunner, rows, said, value_of


def asked(*values, expires=math.inf, background=False):
    ticket = Ticket(rows(*values), 0.0, print, background=background)
    ticket.expires = expires
    return ticket.jobs


@pytest.mark.parametrize("made", [Scheduler, Lanes])
def test_the_expired_never_run_and_hide_nobody(made):
    scheduler = made(BatchPolicy())
    scheduler.add(asked(1, 2, expires=5.0))
    scheduler.add(asked(3))
    scheduler.add(asked(4, expires=5.1))
    assert scheduler.leader(5.0).row.sequence[0, 0] == 3
    assert [value_of(job.row) for job in scheduler.next_batch(1, 5.0)] == [3, 4]
    assert len(scheduler) == 0


def test_a_background_that_has_expired_is_owed_nothing():
    lanes = Lanes(BatchPolicy())
    lanes.add(asked(1, expires=5.0, background=True))
    assert lanes.leader(6.0) is None
    assert not lanes.next_batch(1, 6.0)


async def test_a_request_says_when_it_expires_by_its_context():
    runner, clock = HeldRunner(held=True), [0.0]
    batcher = Batcher(runner, clock=lambda: clock[0])
    told = []
    running = batcher.submit(rows(0), told.append)
    await runner.entered()
    token = EXPIRES.set(5.0)
    late = batcher.submit(rows(1), told.append)
    EXPIRES.reset(token)
    patient = batcher.submit(rows(2), told.append)
    clock[0] = 6.0
    runner.release()
    await runner.entered()
    await batcher.close()
    assert runner.batches == [[0], [2]]
    assert told == [running, patient]
    assert said(patient.result()) == [2]
    batcher.release(late)
