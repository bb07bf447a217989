"""Different lengths into one rectangle, losing nothing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.engine.collate import fill, pad


def sequences(lengths, features=2):
    """Return sequences in which no two values are the same."""
    values = np.arange(1, sum(lengths) * features + 1, dtype=np.float32).reshape(-1, features)
    return np.split(values, np.cumsum(lengths)[:-1])


@given(st.lists(st.integers(1, 20), min_size=1, max_size=10), st.integers(1, 3))
def test_every_value_is_where_its_row_and_step_are_and_the_rest_is_zero(lengths, features):
    asked = sequences(lengths, features)
    padded, found = pad(asked)
    assert padded.shape == (len(lengths), max(lengths), features)
    assert padded.dtype == np.float32
    assert found.dtype == np.int64
    assert found.tolist() == lengths
    for row, sequence in zip(padded, asked, strict=True):
        assert np.array_equal(row[: len(sequence)], sequence)
        assert not row[len(sequence) :].any()


def test_a_missing_value_stays_missing():
    asked = [np.array([[np.nan]], np.float32), np.ones((2, 1), np.float32)]
    padded, _ = pad(asked)
    assert np.isnan(padded[0, 0, 0])
    assert padded[0, 1, 0] == 0


def test_the_rectangle_is_a_copy_and_no_window_on_the_callers_arrays():
    for lengths in ([3], [3, 3], [3, 2]):
        asked = sequences(lengths)
        padded, _ = pad(asked)
        assert not any(np.shares_memory(padded, each) for each in asked)


@given(st.data())
def test_filling_leaves_nothing_of_what_was_there(data):
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    asked = sequences(lengths)
    padded = np.full((data.draw(st.integers(len(lengths), 8)), 10, 2), np.nan, np.float32)
    filled = np.full(len(padded), -1)
    fill(asked, padded, filled)
    expected, _ = pad(asked)
    assert np.array_equal(padded[: len(lengths), : max(lengths)], expected)
    assert not padded[len(lengths) :].any()
    assert not padded[:, max(lengths) :].any()
    assert filled.tolist() == lengths + [1] * (len(padded) - len(lengths))
