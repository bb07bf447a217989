"""The simulation of the scheduler: its promises in short form, and that it sees them broken."""

import numpy as np
import pytest

from benchmarks.simulate import RULES, Stage, lines
from benchmarks.simulation.prices import Truth, capacity, read
from benchmarks.simulation.rules import OURS
from benchmarks.simulation.traffic import BURST, PEAK

STAGE = Stage(read(), error=0.2, seed=1)
REQUESTS = 3000


def played(name, runners=2, load=0.25, requests=REQUESTS, stage=STAGE):
    guests = stage.crowd(requests)
    return stage.play(RULES[name], guests, stage.times(guests, runners, load), runners)


def late(outcome) -> float:
    return np.percentile(outcome.latencies, 99)


@pytest.mark.parametrize("name", RULES)
def test_every_sequence_runs_exactly_once(name):
    outcome = played(name, runners=16, load=0.7)
    assert (outcome.runs == 1).all()
    assert (outcome.arrived <= outcome.started).all()
    assert (outcome.started < outcome.ended).all()


@pytest.mark.parametrize("runners", [2, 16, 200])
@pytest.mark.parametrize("load", [0.1, 0.85])
def test_nobody_is_passed_over_by_more_batches_than_there_were_sequences_before(runners, load):
    outcome = played(OURS, runners, load)
    assert outcome.beyond_bound == 0
    assert outcome.passed_over.max() > 0


def test_the_bound_is_seen_broken_where_nobody_is_fair():
    assert played("8 shortest", load=0.45).beyond_bound > 0
    assert played("one by one", load=0.45).passed_over.max() == 0


@pytest.mark.parametrize(
    ("other", "load"), [("4 in order", 0.25), ("4 in order", 0.35), ("32 in order", 0.1)]
)
def test_the_latest_wait_less_than_where_a_count_bounds_the_batches(other, load):
    theirs, ours = (played(name, 2, load, requests=10_000) for name in (other, OURS))
    assert load < STAGE.share(STAGE.rush(RULES[other]))
    assert late(ours) < late(theirs)


def test_the_queue_grows_above_what_a_rule_serves_in_a_rush_and_not_below():
    most = STAGE.share(STAGE.rush(RULES["one by one"]))

    few, many = (played("one by one", 2, 1.5 * most, requests) for requests in (4000, 8000))
    assert many.longest_wait > 1.7 * few.longest_wait
    stable = played("one by one", 2, 0.7 * most, 8000)
    assert stable.longest_wait < stable.arrived[-1] / 10


def test_the_same_seed_makes_the_same_table_and_another_one_another():
    first, again, other = (
        list(lines(Stage(read(), 0.2, seed), {2: 500}, [0.1, 0.45])) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other
    assert len(first) == 3 * len(RULES)


def test_bursts_are_as_strong_at_any_load_and_the_load_is_as_stated():
    guests = STAGE.crowd(20_000)
    most = capacity(read(), guests.lengths.tolist()) * len(guests.counts) / guests.counts.sum()
    for load in (0.1, 0.7):
        arriving = np.array(STAGE.times(guests, 2, load))
        assert len(arriving) / arriving[-1] == pytest.approx(2 * load * most, rel=0.05)
        within = np.searchsorted(arriving, arriving + BURST) - np.arange(len(arriving))
        strength = within.max() / (BURST * 2 * most)
        assert strength == pytest.approx(PEAK + load, rel=0.3)


def test_what_a_batch_takes_is_foretold_only_in_the_mean():
    costs = read()
    exact = Truth(costs, 0.0, seed=1)
    assert exact.seconds(3, 100) == costs.seconds(3, 100) + costs.hand_over
    runs = [Truth(costs, 0.2, seed).seconds(4, 51) - costs.hand_over for seed in range(400)]
    each = np.array(runs) / costs.seconds(4, 51)
    assert np.mean(each) == pytest.approx(1, abs=0.05)
    assert np.std(each) == pytest.approx(0.2 * np.sqrt(2), rel=0.2)
