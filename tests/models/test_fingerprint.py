"""An excerpt of what a model was trained on is recognised, however it was cut; nothing else is."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.fingerprint import MOST, STRETCH, overlap, sketch


def walk(steps, seed=0, targets=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(steps, targets)).cumsum(0).astype(np.float32)


KNOWN = walk(600)
SKETCH = sketch([KNOWN])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 600 - STRETCH), st.integers(STRETCH, 600))
def test_any_excerpt_of_a_short_table_is_recognised_to_its_last_step(start, length):
    excerpt = KNOWN[start : start + length]
    found = overlap(excerpt, SKETCH)
    assert found.checked == found.found == len(excerpt) - STRETCH + 1
    assert found.end == len(excerpt)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 19_000))
def test_an_excerpt_of_a_long_table_is_recognised_by_what_was_kept(start):
    parts = [walk(10_000, seed, targets=2) for seed in (1, 2)]
    excerpt = np.concatenate(parts)[start : start + 1000]
    found = overlap(excerpt, sketch(parts))
    assert found.found > 5
    seam = start < 10_000 < start + 1000
    assert found.found == found.checked or seam


def test_another_series_is_not_recognised():
    known = sketch([walk(50_000, seed) for seed in range(3)])
    for seed in range(3, 30):
        assert overlap(walk(1000, seed), known).found == 0


def test_what_follows_the_training_data_is_where_recognition_ends():
    whole = walk(1000)
    found = overlap(whole, sketch([whole[:800]]))
    assert found.end == 800
    assert overlap(whole[800:], sketch([whole[:800]])).found == 0


def test_numbers_that_went_through_json_are_the_same():
    values = np.round(walk(500), 2)
    written = json.dumps([[round(float(value), 2)] for value in values[:, 0]])
    back = np.array(json.loads(written), np.float64).astype(np.float32)
    assert overlap(back, sketch([values])).found == 500 - STRETCH + 1


def test_missing_values_and_both_zeros_are_the_same_whatever_their_bits():
    values = walk(100)
    values[20], values[50] = np.nan, 0.0
    other = values.copy()
    other[20], other[50] = np.uint32(0x7FC12345).view(np.float32), -0.0
    assert overlap(other, sketch([values])).found == 100 - STRETCH + 1


@pytest.mark.parametrize("dull", [np.zeros(400), np.arange(400) % 7])
def test_what_many_series_have_in_common_is_no_mark_of_one(dull):
    series = dull[:, None].astype(np.float32)
    assert sketch([series]) == ""
    assert overlap(series, SKETCH) == (0, 0, 0)


def test_a_series_shorter_than_a_stretch_cannot_be_told():
    assert sketch([KNOWN[: STRETCH - 1]]) == ""
    assert overlap(KNOWN[: STRETCH - 1], SKETCH) == (0, 0, 0)


def test_the_size_is_bounded_and_the_order_of_the_series_tells_nothing():
    parts = [walk(3000, seed) for seed in range(4)]
    kept = sketch(parts)
    assert len(kept) == MOST * 6 * 4 / 3
    assert sketch(parts[::-1]) == kept


def test_stretches_across_the_chunks_of_the_work_are_not_lost():
    values = walk(70_000)
    pieces = sketch([values[start : start + 1000] for start in range(0, 70_000, 969)])
    assert sketch([values]) == pieces


@pytest.mark.parametrize("broken", ["x", "AAAA", "ü"])
def test_what_is_no_sketch_is_refused(broken):
    with pytest.raises(ValueError, match=r"."):
        overlap(KNOWN, broken)
