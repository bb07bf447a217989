"""Between measured points costs are foretold, and never beyond reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.costs import NEAR_BEST, CostGrid

SIZES, STEPS = (1, 4, 16), (10, 100)
PLANE = CostGrid(
    SIZES, STEPS, tuple(tuple(1e-4 + 1e-6 * size * steps for steps in STEPS) for size in SIZES)
)
times = st.floats(1e-6, 10)
grids = st.lists(st.lists(times, min_size=2, max_size=2), min_size=3, max_size=3).map(
    lambda rows: CostGrid(SIZES, STEPS, tuple(map(tuple, rows)))
)


@given(grids)
def test_a_grid_says_what_was_measured(grid):
    for row, size in enumerate(SIZES):
        for column, steps in enumerate(STEPS):
            assert grid.seconds(size, steps) == pytest.approx(grid.seconds_at[row][column])


@given(st.integers(1, 500), st.integers(1, 5000))
def test_what_grows_with_size_times_steps_is_foretold_exactly(size, steps):
    assert PLANE.seconds(size, steps) == pytest.approx(1e-4 + 1e-6 * size * steps)


@given(grids, st.integers(1, 1000), st.integers(1, 10_000))
def test_no_batch_is_foretold_to_cost_nothing(grid, size, steps):
    assert grid.seconds(size, steps) > 0


@given(grids, st.integers(1, 200))
def test_the_useful_size_is_the_smallest_that_comes_near_the_best_rate(grid, steps):
    rates = {size: size / (grid.seconds(size, steps) + grid.hand_over) for size in SIZES}
    useful = grid.useful_size(steps)
    assert rates[useful] >= NEAR_BEST * max(rates.values())
    assert all(rates[size] < NEAR_BEST * max(rates.values()) for size in SIZES if size < useful)


@pytest.mark.parametrize(
    ("sizes", "steps", "seconds"),
    [
        ((), (), ()),
        ((1, 2), (8,), ((1.0,),)),
        ((1,), (8, 9), ((1.0,),)),
        ((2, 1), (8,), ((1.0,), (1.0,))),
        ((1, 1), (8,), ((1.0,), (1.0,))),
        ((1,), (9, 8), ((1.0, 1.0),)),
        ((1,), (8,), ((0.0,),)),
        ((1,), (8,), ((float("nan"),),)),
    ],
)
def test_what_is_no_grid_is_refused(sizes, steps, seconds):
    with pytest.raises(ValueError, match="grid of costs"):
        CostGrid(sizes, steps, seconds)


def test_a_batch_is_not_kept_small_where_its_hand_over_would_cost_more_than_it_gains():
    linear = ((150e-6,), (600e-6,), (2400e-6,))  # no larger batch runs any faster
    sizes = 1, 4, 16
    assert CostGrid(sizes, (96,), linear, hand_over=0.0).useful_size(96) == 1
    assert CostGrid(sizes, (96,), linear).useful_size(96) == 16
