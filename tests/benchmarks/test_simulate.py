"""The simulation of the scheduler: every job has one answer, and ours is worth having."""

import numpy as np

from benchmarks.simulate import RULES, arrivals, play


def test_every_job_is_answered_once_and_ours_waits_less_than_padding_to_the_longest():
    given = arrivals(2, 0.8, 0.2, seed=1)
    found = {name: play(rule, given, 2) for name, rule in RULES.items()}
    assert all((outcome.answers == 1).all() for outcome in found.values())
    late = {name: np.percentile(outcome.latencies, 99) for name, outcome in found.items()}
    assert late["ours"] < late["32, pad to 512"]


def test_the_same_seed_plays_the_same_afternoon():
    first, second = (play(RULES["ours"], arrivals(2, 0.5, 0.05, seed=3), 2) for _ in range(2))
    assert (first.latencies == second.latencies).all()


def test_in_the_order_of_arrival_nobody_is_passed_over():
    assert play(RULES["one by one"], arrivals(2, 0.95, 0.05, seed=2), 2).passed_over == 0
