"""What the running statistics are, in any cut, over any distance, at any level."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.architecture import FURTHEST
from training.networks.causal import CausalNormaliser
from training.networks.normalise import Scaling
from training.networks.running import PRIOR, RunningMoments

MANY = 100_000


def by_update(values: np.ndarray, memory: int) -> np.ndarray:
    """
    Return mean and deviation (time, 2) after each of (time,) values, one at a time.

    The update of West (1979), the weights fading: W = 1 + a W, then m = m + (x - m) / W and
    S = a S + (x - m_before) (x - m_after); the prior is PRIOR a^n steps of variance 1.
    """
    a = 1 - 1 / memory
    weight = mean = squares = 0.0
    prior, found = PRIOR, []
    for value in values:
        if not np.isnan(value):
            weight = 1 + a * weight
            before, mean = mean, mean + (value - mean) / weight
            squares = a * squares + (value - before) * (value - mean)
            prior *= a
        found.append((mean, np.sqrt((squares + prior) / (weight + prior))))
    return np.array(found)


def measured(moments, values, state=None):
    """Return mean and deviation (time, 2) of (time,) values, and the state after them."""
    row = torch.from_numpy(values)[None, :, None]
    seen = ~row.isnan()
    after = moments(row.nan_to_num(), seen, state)
    return torch.cat([after.mean, after.deviation], dim=-1)[0].numpy(), after.state


def drawn(seed, steps, *, missing=0.2, level=0.0):
    rng = np.random.default_rng(seed)
    values = rng.normal(level, 1, steps)
    values[rng.random(steps) < missing] = np.nan
    return values


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 99),
    memory=st.sampled_from([2, 5, 64, 512]),
    steps=st.integers(1, 300),
    missing=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    level=st.sampled_from([0.0, -3.0, 1e4]),
)
def test_all_steps_at_once_are_the_update_one_by_one(seed, memory, steps, missing, level):
    values = drawn(seed, steps, missing=missing, level=level)
    found, _ = measured(RunningMoments(memory, steps), values)
    np.testing.assert_allclose(found, by_update(values, memory), rtol=1e-9, atol=2e-6)


@pytest.mark.parametrize("level", [0.0, 1e4])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_a_hundred_thousand_steps_in_pieces_do_not_drift(level, missing):
    values = drawn(1, MANY, missing=missing, level=level)
    moments = RunningMoments(512, MANY)
    whole, last = measured(moments, values)
    np.testing.assert_allclose(whole[-1], by_update(values, 512)[-1], rtol=1e-9, atol=2e-6)
    state, step, rng = None, 0, np.random.default_rng(2)
    while step < MANY:
        size = int(rng.integers(1, 40))
        found, state = measured(moments, values[step : step + size], state)
        np.testing.assert_allclose(found, whole[step : step + size], rtol=1e-9, atol=5e-7)
        step += size
    torch.testing.assert_close(state.double().sum(1), last.double().sum(1), rtol=1e-6, atol=1e-6)


def test_a_state_of_one_float32_each_would_drift():
    """What the low parts are for: without them each step's rounding stays for good."""
    values = drawn(1, 20_000, missing=0.0, level=1e4)
    moments = RunningMoments(512, len(values))
    whole, _ = measured(moments, values)
    state = None
    for value in values:
        found, state = measured(moments, value[None], state)
        state[:, 1] = 0
    assert np.abs(found[-1] - whole[-1]).max() > 1e-4


def test_a_row_that_has_shown_nothing_is_measured_in_the_global_units():
    found, state = measured(RunningMoments(512, 3), np.full(3, np.nan))
    np.testing.assert_allclose(found, [[0, 1]] * 3, atol=2e-6)
    assert not state.any()


def test_a_row_that_has_not_varied_yet_keeps_a_share_of_the_global_deviation():
    found, _ = measured(RunningMoments(512, 4), np.full(4, 30.0))
    np.testing.assert_allclose(found[:, 0], 30)
    np.testing.assert_allclose(found[:, 1] ** 2, PRIOR / (PRIOR + np.arange(1, 5)), rtol=0.01)


def test_a_row_that_is_flat_for_long_stays_finite_and_a_jump_is_bounded():
    values = np.concatenate([np.full(9_000, 2.0), [1e6], np.full(9, 1e6)])
    found, _ = measured(RunningMoments(64, len(values)), values)
    seen = (values - found[:, 0]) / found[:, 1]
    assert np.isfinite(seen).all()
    assert np.abs(seen).max() < 8  # the square root of the memory


def test_the_longest_row_a_recipe_allows_is_still_made_of_numbers():
    values = drawn(3, 2 * FURTHEST, missing=0.0, level=1e4)
    found, _ = measured(RunningMoments(2, len(values)), values)
    np.testing.assert_allclose(found, by_update(values, 2), rtol=1e-6, atol=2e-6)


def test_more_steps_at_once_than_the_graph_was_made_for_are_refused():
    with pytest.raises(IndexError):
        measured(RunningMoments(512, 8), np.zeros(9))


@pytest.mark.parametrize("kind", ["global", "running"])
def test_no_step_is_changed_by_a_later_one(kind):
    torch.manual_seed(0)
    memory = 32 if kind == "running" else None
    scaling = Scaling(np.array([5, -3, 1], "f4"), np.array([2, 4, 1], "f4"))
    normaliser = CausalNormaliser(scaling, 2, 0, kind=kind, missing=True, memory=memory, longest=50)
    rows = torch.randn(4, 50, 3)
    rows[torch.rand(rows.shape) < 0.2] = torch.nan
    whole = normaliser(rows, torch.full((4,), 50))
    for length in (1, 7, 49):
        part = normaliser(rows, torch.full((4,), length))
        assert torch.equal(part.inputs[:, :length], whole.inputs[:, :length])
        assert not part.targets[:, length:].any()


def test_the_inputs_of_a_row_far_from_the_training_part_have_its_own_units():
    torch.manual_seed(0)
    scaling = Scaling(np.zeros(1, "f4"), np.ones(1, "f4"))
    normaliser = CausalNormaliser(
        scaling, 1, 0, kind="running", missing=False, memory=512, longest=2000
    )
    rows = 1e4 + 50 * torch.randn(1, 2000, 1)
    found = normaliser(rows, torch.tensor([2000]))
    assert found.inputs[0, 100:].std() == pytest.approx(1, abs=0.1)
    assert found.shift.item() == pytest.approx(rows[0, -1].item())
    assert found.spread.item() == pytest.approx(50, rel=0.15)
