"""Segments, independent channels, the solved skip and calibration: what each promises."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.calibrate import calibrate, stretches
from training.linear import StreamingRidge, solve_skip
from training.networks import Scaling, build
from training.networks.segments import Segments
from training.pipeline import forecaster
from training.recipe import Recipe
from training.windows import Windows, spread_rows

HORIZON = 4


def recipe(targets=2, **network):
    return Recipe.model_validate(
        {
            "name": "any",
            "horizon": HORIZON,
            "max_length": 24,
            "quantiles": network.pop("quantiles", (0.1, 0.5, 0.9)),
            "data": {
                "source": "none",
                "time": "ds",
                "targets": [f"t{n}" for n in range(targets)],
                "features": network.pop("features", ()),
                "frequency": "1h",
            },
            "network": {"hidden": 8, "layers": 1, "normalisation": "last"} | network,
        }
    )


def network(columns=2, targets=2, *, missing=False, **words):
    torch.manual_seed(0)
    features = tuple(f"f{n}" for n in range(columns - targets))
    scaling = Scaling(np.full(columns, 3, "f4"), np.full(columns, 2, "f4"))
    return build(recipe(targets, features=features, **words), scaling, missing=missing).eval()


def windows(values, length=24):
    values = np.asarray(values, dtype="f4")
    clock = np.datetime64("2024-01-01", "us") + np.arange(len(values)) * np.timedelta64(1, "h")
    origins = np.arange(length - 1, len(values) - HORIZON)
    first = np.zeros_like(origins)
    return Windows(values, clock, origins, first, length, HORIZON, values.shape[1], 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_segments_are_cut_from_the_end_of_each_row_and_zero_in_front(size, lengths):
    segments = Segments(1, size, hidden=size)
    torch.nn.init.eye_(segments.embed.weight)
    torch.nn.init.zeros_(segments.embed.bias)
    rows = torch.full((len(lengths), max(lengths), 1), torch.nan)
    for row, length in enumerate(lengths):
        rows[row, :length, 0] = torch.arange(1.0, length + 1)
    cut, counts = segments(rows, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        count = -(-length // size)
        assert counts[row] == count
        steps = cut[row, :count].flatten().tolist()
        assert steps == [0.0] * (count * size - length) + list(range(1, length + 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_the_weight_of_a_segment_is_shared_by_its_valid_steps(size, lengths):
    segments, each = Segments(1, size, hidden=2), torch.tensor(lengths)
    counts = (each + size - 1) // size
    weights = torch.rand(len(lengths), int(counts.max()))
    weights = torch.where(torch.arange(weights.shape[1]) < counts[:, None], weights, 0.0)
    weights /= weights.sum(1, keepdim=True)
    spread_out = segments.spread(weights, each, max(lengths))
    torch.testing.assert_close(spread_out.sum(1), torch.ones(len(lengths)))
    for row, length in enumerate(lengths):
        assert (spread_out[row, length:] == 0).all()
        last = spread_out[row, max(0, length - size) : length]
        torch.testing.assert_close(last.sum(), weights[row, counts[row] - 1])


@pytest.mark.parametrize("kind", ["gru", "attention"])
@pytest.mark.parametrize("missing", [False, True])
def test_an_independent_channel_sees_the_covariates_and_no_other_target(kind, missing):
    net = network(columns=3, kind=kind, channels="independent", segment=4, missing=missing)
    rows, lengths = torch.randn(3, 10, 3), torch.tensor([10, 4, 7])
    before = net(rows, lengths)[0]
    other, covariate = rows.clone(), rows.clone()
    other[..., 1] += torch.randn(3, 10)
    covariate[..., 2] += torch.randn(3, 10)
    assert torch.equal(net(other, lengths)[0][:, :, 0], before[:, :, 0])
    assert not torch.allclose(net(other, lengths)[0][:, :, 1], before[:, :, 1])
    assert (net(covariate, lengths)[0] != before).any(3).any(1).all()


def test_targets_that_are_alike_get_the_same_forecast_from_independent_channels():
    net = network(channels="independent")
    rows = torch.randn(2, 12, 1).expand(-1, -1, 2)
    answer, _ = net(rows, torch.tensor([12, 9]))
    torch.testing.assert_close(answer[:, :, 0], answer[:, :, 1], rtol=0, atol=0)


def test_scaled_rows_answer_in_units_of_their_own_deviation_from_their_last_value():
    net = network(normalisation="scaled")
    rows, lengths = torch.randn(2, 12, 2), torch.tensor([12, 12])
    moved, _ = net(50 + 10 * rows, lengths)
    answer, _ = net(rows, lengths)
    torch.testing.assert_close(moved, 50 + 10 * answer, rtol=1e-3, atol=1e-2)


def test_ridge_finds_a_linear_map_and_leaves_out_rows_with_gaps():
    random = np.random.default_rng(0)
    weights = random.normal(size=(5, 3))
    ridge = StreamingRidge(5, 3)
    for _ in range(4):
        inputs = random.normal(size=(50, 5))
        wanted = inputs @ weights
        inputs[3, 2], wanted[7, 1] = np.nan, np.nan
        ridge.add(inputs, wanted)
    np.testing.assert_allclose(ridge.solve(1e-9), weights, atol=1e-6)
    assert np.abs(ridge.solve(10.0)).sum() < np.abs(weights).sum() / 5


def test_the_solved_skip_forecasts_a_linear_series_before_any_training():
    time = np.arange(600)
    values = np.stack([np.sin(time / 3), 5 + np.cos(time / 5)], 1)
    values += np.random.default_rng(0).normal(0, 1e-3, values.shape)
    net = network(linear="solved", linear_steps=12)
    train, validation = windows(values[:400]), windows(values[400:])
    assert solve_skip(net, train, validation) == 1e-4
    assert not net.skip.map.weight.requires_grad
    rows = np.arange(len(validation))
    batch = validation.batch(rows, validation.available(rows))
    median = forecaster(net)(batch)[..., 1]
    assert np.abs(median - batch.actuals).mean() < 0.05


def test_the_skip_is_solved_from_windows_without_gaps_where_they_are_enough():
    time = np.arange(500)
    values = np.sin(time / 3)[:, None] + np.random.default_rng(0).normal(0, 1e-3, (500, 1))
    gaps = values.copy()
    gaps[:300] = np.random.default_rng(1).normal(0, 9, (300, 1))  # nothing like what follows
    gaps[4:300:5] = np.nan
    found = []
    for table in (gaps, values[300:]):
        net = network(1, 1, missing=True, linear="solved", linear_steps=12)
        solve_skip(net, windows(table[:-100]), windows(values[400:]))
        found.append(net.skip.map.weight.detach().numpy())
    # Beside the gaps there are twelve windows more: of 24 steps, the last twelve are whole.
    np.testing.assert_allclose(found[0], found[1], atol=0.01)


def test_a_refined_skip_goes_on_learning():
    net = network(linear="refined", linear_steps=3)
    held = windows(np.random.default_rng(0).normal(size=(90, 2)))
    solve_skip(net, held, held, trained=True)
    assert net.skip.map.weight.abs().sum() > 0
    batch = held.batch(np.arange(5), np.full(5, 24))
    parts = (torch.from_numpy(part) for part in (batch.sequences, batch.lengths))
    net.loss(*parts, None, torch.from_numpy(batch.actuals)).backward()
    assert net.skip.map.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("linear", ["solved", "refined"])
def test_a_linear_skip_in_closed_form_needs_its_steps(linear):
    with pytest.raises(ValueError, match="needs linear_steps"):
        recipe(linear=linear)


def test_few_of_many_rows_are_spread_over_all():
    assert spread_rows(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert spread_rows(1001, 3).tolist() == [0, 500, 1000]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**31), st.floats(0.1, 5), st.sampled_from([(0.1, 0.5, 0.9), (0.5, 0.7, 0.95)])
)
def test_stretched_quantiles_hold_what_they_say_where_they_were_calibrated(seed, width, levels):
    random = np.random.default_rng(seed)
    actuals = random.standard_t(3, size=(200, HORIZON, 1))
    actuals[:5] = np.nan
    middle = levels.index(0.5)
    gaps = width * random.uniform(0.5, 2, (200, HORIZON, 1, len(levels)))
    answers = np.cumsum(gaps, -1)
    answers -= answers[..., middle : middle + 1]
    stretch = stretches(answers, actuals, np.array(levels), middle)[0]
    steps = np.diff(answers, axis=-1)
    above = np.cumsum(steps[..., middle:] * stretch[middle + 1 :], -1)
    below = np.cumsum((steps[..., :middle] * stretch[:middle])[..., ::-1], -1)[..., ::-1]
    found = np.concatenate([-below, np.zeros((*above.shape[:3], 1)), above], -1)
    known = np.isfinite(actuals[..., 0])
    below_share = (actuals[..., None] <= found)[known].mean(0)[0]
    count = known.sum()
    for level, share in zip(levels, below_share, strict=True):
        if level != 0.5:
            assert share == pytest.approx(level, abs=2 / count)


def test_calibration_moves_no_median_and_brings_the_interval_to_its_share():
    random = np.random.default_rng(1)
    values = np.cumsum(random.normal(size=(900, 2)), axis=0)
    net, held = network(), windows(values)
    rows = np.arange(len(held))
    batch = held.batch(rows, held.available(rows))
    before = forecaster(net)(batch)
    calibrate(net, forecaster(net), held)
    after = forecaster(net)(batch)
    np.testing.assert_array_equal(after[..., 1], before[..., 1])
    inside = (batch.actuals >= after[..., 0]) & (batch.actuals <= after[..., 2])
    assert (np.diff(after, axis=-1) > 0).all()
    for target in range(2):
        assert inside[..., target].mean() == pytest.approx(0.8, abs=0.01)
