"""Who goes next: played by hand and by chance, without a clock, a loop or a thread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.errors import Overloaded
from service.engine.jobs import Job, Row, Ticket
from service.engine.scheduler import BatchPolicy, Scheduler, length_class


def job(length=1) -> Job:
    return Ticket([Row(np.zeros((length, 1), np.float32))], 0.0, lambda _: None).jobs[0]


def leave(leaver: Job):
    leaver.ticket.release()


def jobs(*lengths) -> list[Job]:
    return [job(length) for length in lengths]


def waiting(*lengths, **bounds) -> tuple[Scheduler, list[Job]]:
    scheduler, added = Scheduler(BatchPolicy(**bounds)), jobs(*lengths)
    scheduler.add(added)
    return scheduler, added


def lengths(batch) -> list[int]:
    return [each.length for each in batch]


def test_an_empty_room_has_no_batch():
    assert Scheduler(BatchPolicy()).next_batch() == []


def test_who_waits_together_leaves_together_in_order():
    scheduler, added = waiting(3, 3, 3)
    assert scheduler.next_batch() == added
    assert len(scheduler) == 0
    assert scheduler.next_batch() == []


def test_a_batch_holds_no_more_than_allowed():
    scheduler, added = waiting(1, 1, 1, 1, 1, max_batch_size=2)
    assert [scheduler.next_batch() for _ in range(3)] == [added[:2], added[2:4], added[4:]]


def test_the_steps_after_padding_bound_a_batch():
    scheduler, _ = waiting(10, 10, 10, 11, 10, max_batch_steps=40)
    assert lengths(scheduler.next_batch()) == [10, 10, 10]  # 4 * 11 would be 44
    assert lengths(scheduler.next_batch()) == [11, 10]


def test_a_sequence_larger_than_the_bound_travels_alone():
    scheduler, _ = waiting(100, 100, max_batch_steps=40)
    assert lengths(scheduler.next_batch()) == [100]
    assert lengths(scheduler.next_batch()) == [100]


def test_the_short_do_not_pay_for_the_long():
    scheduler, _ = waiting(16, 512, 17, 600, 16)
    assert lengths(scheduler.next_batch()) == [16, 17, 16]
    assert lengths(scheduler.next_batch()) == [512, 600]


def test_the_oldest_leads_so_no_class_starves():
    scheduler, (rare,) = waiting(512, max_batch_size=1)
    for _ in range(3):
        scheduler.add([job(16)])
    assert scheduler.next_batch() == [rare]


def test_a_request_that_does_not_fit_is_refused_whole():
    scheduler, _ = waiting(1, 1, max_waiting=3)
    with pytest.raises(Overloaded, match="2 of at most 3"):
        scheduler.add(jobs(1, 1))
    assert len(scheduler) == 2
    scheduler.add(jobs(1))
    assert len(scheduler) == 3


def test_a_job_taken_back_frees_its_place_at_once():
    scheduler, (first, second) = waiting(1, 1, max_waiting=2)
    scheduler.discard([first])
    assert len(scheduler) == 1
    newcomer = job()
    scheduler.add([newcomer])
    assert scheduler.next_batch() == [second, newcomer]


def test_a_job_cannot_be_taken_back_twice_or_after_it_left():
    scheduler, (first, second) = waiting(1, 200)
    scheduler.discard([first])
    scheduler.discard([first])
    assert len(scheduler) == 1
    assert scheduler.next_batch() == [second]
    scheduler.discard([first, second])
    assert len(scheduler) == 0


def test_the_abandoned_never_run_and_hide_nobody():
    scheduler, (first, second, third) = waiting(5, 5, 200)
    leave(first)
    leave(second)
    assert scheduler.next_batch() == [third]
    assert len(scheduler) == 0


def test_an_abandoned_job_makes_no_batch_smaller():
    scheduler, (first, second, third) = waiting(10, 11, 10, max_batch_steps=20)
    leave(second)
    assert scheduler.next_batch() == [first, third]


def test_an_abandoned_job_lends_its_turn_to_nobody():
    scheduler, (leaver, oldest, young) = waiting(200, 5, 200)
    leave(leaver)
    assert scheduler.next_batch() == [oldest]
    assert scheduler.next_batch() == [young]


def test_draining_gives_up_everybody_oldest_first():
    scheduler, added = waiting(5, 500, 6, 50, 499)
    assert scheduler.drain() == added
    assert len(scheduler) == 0
    assert scheduler.next_batch() == []


@pytest.mark.parametrize("bound", ["max_batch_size", "max_batch_steps", "max_waiting"])
def test_a_bound_of_nothing_is_refused(bound):
    with pytest.raises(ValueError, match="at least 1"):
        BatchPolicy(**{bound: 0})


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_one_class_pads_by_less_than_half(one, other):
    assert (length_class(one) <= length_class(other)) or one > other
    if length_class(one) == length_class(other):
        assert max(one, other) ** 2 <= 2 * min(one, other) ** 2


ADD, DISCARD, LEAVE, TAKE = "add", "discard", "leave", "take"
some_lengths = st.lists(st.integers(1, 70), min_size=1, max_size=6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just(ADD), some_lengths),
        st.tuples(st.just(DISCARD), st.integers(0, 99)),
        st.tuples(st.just(LEAVE), st.integers(0, 99)),
        st.tuples(st.just(TAKE), st.none()),
    ),
    max_size=60,
)
policies = st.builds(BatchPolicy, st.integers(1, 6), st.integers(1, 200), st.integers(1, 20))


class Afternoon:
    """Plays a scheduler beside the simplest model of it: one line of jobs, oldest first."""

    def __init__(self, policy):
        self.policy = policy
        self.scheduler = Scheduler(policy)
        self.line = []  # who should be waiting
        self.left = []  # who was taken, in batches or back

    def play(self, action, argument):
        if action == TAKE:
            self.take()
        elif action == ADD:
            self.add(jobs(*argument))
        elif self.line:
            chosen = self.line[argument % len(self.line)]
            leave(chosen)
            if action == DISCARD:
                self.scheduler.discard([chosen])
                self.line.remove(chosen)
                self.left.append(chosen)

    def add(self, newcomers):
        if len(self.line) + len(newcomers) > self.policy.max_waiting:
            with pytest.raises(Overloaded):
                self.scheduler.add(newcomers)
        else:
            self.scheduler.add(newcomers)
            self.line.extend(newcomers)

    def take(self):
        batch = self.scheduler.next_batch()
        present = [each for each in self.line if not each.abandoned(0.0)]
        assert bool(batch) == bool(present)
        if batch:
            self.judge(batch, present)
        self.left += batch
        for each in batch:
            self.line.remove(each)
        if len(self.scheduler) != len(self.line):  # the abandoned went with it
            self.line = [each for each in self.line if self.waits(each)]
        return batch

    def judge(self, batch, present):
        if len(present) == len(self.line):
            assert batch[0] is present[0], "the oldest leads"
        assert {length_class(each.length) for each in batch} == {length_class(batch[0].length)}
        same_class = [
            each for each in present if length_class(each.length) == length_class(batch[0].length)
        ]
        assert batch == same_class[: len(batch)], "nobody overtakes in a class"
        assert len(batch) <= self.policy.max_batch_size
        padded = max(each.length for each in batch) * len(batch)
        assert padded <= self.policy.max_batch_steps or len(batch) == 1

    def waits(self, each):
        return any(each in queue for queue in self.scheduler._queues.values())


@given(policies, steps)
def test_every_admitted_job_leaves_exactly_once_and_in_bounds(policy, afternoon):
    play = Afternoon(policy)
    for action, argument in afternoon:
        play.play(action, argument)
        assert len(play.scheduler) == len(play.line) <= policy.max_waiting
    while play.take():
        pass
    assert len(play.left) == len(set(play.left))
    assert len(play.scheduler) == 0
    assert play.scheduler._queues == {}


@given(policies, some_lengths)
def test_draining_gives_up_exactly_those_who_wait(policy, admitted):
    scheduler, added = Scheduler(policy), jobs(*admitted)
    try:
        scheduler.add(added)
    except Overloaded:
        added = []
    taken = scheduler.next_batch()
    drained = scheduler.drain()
    assert sorted(map(id, taken + drained)) == sorted(map(id, added))
