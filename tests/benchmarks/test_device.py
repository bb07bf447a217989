"""What the table of the device benchmark says is what was measured."""

import threading

import numpy as np

from benchmarks.device import BARE, COMPILED, EAGER, OURS, WAYS, Found, Way, _notes, _table


def found(seconds, threads=1, answer=1.0):
    return Found({4: seconds}, {4: np.full(3, answer, np.float32)}, threads=threads)


def test_a_rate_is_the_median_and_counts_what_all_threads_answered():
    assert found([9.0, 2.0, 1.0]).rate(4) == 2.0
    assert found([9.0, 2.0, 1.0], threads=3).rate(4) == 6.0
    assert found([1.0]).rate(16) is None


def test_a_way_answers_as_often_as_asked_in_each_of_its_threads():
    answered, lock = [], threading.Lock()

    def answer():
        with lock:
            answered.append(threading.get_ident())
        return np.zeros(1, np.float32)

    Way(answer).times(3)
    assert answered == [threading.get_ident()] * 3
    Way(answer, threads=2).times(5)
    assert len(answered) == 3 + 2 * 5


def test_ours_is_compared_with_the_best_of_the_others_and_a_way_left_out_is_named():
    ways = {EAGER: found([1.0]), BARE: found([0.5, 0.5], answer=1.5), OURS: found([0.25, 0.5])}
    ways[COMPILED] = Found(skipped="from a batch of 4 on: no compiler")
    assert _table([4], {name: ways[name] for name in WAYS})[-1] == "| 4 | 4 |  | 8 | 11 | 1.33 |"
    text, missing = _notes(ways)
    assert "torch.compile not known, ONNX Runtime bare 5.0e-01, ours 0.0e+00" in text
    assert "at most 2.00 times" in text
    assert missing == "\nNot measured: torch.compile, from a batch of 4 on: no compiler."
