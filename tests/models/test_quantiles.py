"""The mean that a set of quantiles implies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.quantiles import mean_weights

levels = st.lists(st.floats(0.001, 0.999), min_size=1, max_size=12, unique=True).map(sorted)


@given(levels)
def test_the_weights_are_positive_and_sum_to_one(chosen):
    weights = mean_weights(chosen)
    assert weights.shape == (len(chosen),)
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(1)


def test_a_median_alone_is_the_mean():
    assert mean_weights([0.5]).tolist() == [1.0]


def test_the_outer_levels_get_their_tails():
    assert mean_weights([0.1, 0.5, 0.9]) == pytest.approx([0.3, 0.4, 0.3])


@given(levels, st.integers(0, 2**32 - 1))
def test_the_mean_is_the_area_under_the_quantile_function(chosen, seed):
    values = np.sort(np.random.default_rng(seed).normal(0, 10, len(chosen)))
    corners = np.array([0.0, *chosen, 1.0])  # flat before the first level and after the last
    area = np.trapezoid(np.interp(corners, chosen, values), corners)
    assert mean_weights(chosen) @ values == pytest.approx(area)


def test_a_caller_cannot_spoil_the_weights_of_the_next():
    weights = mean_weights([0.2, 0.8])
    with pytest.raises(ValueError, match="read-only"):
        weights[0] = 7
