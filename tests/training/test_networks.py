"""What the networks promise in torch, for any weights and any neighbours."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.test_parity import words_of
from training.networks import build
from training.networks.forecaster import Forecaster
from training.networks.heads import DirectHead, Quantiles, pinball, positive
from training.networks.normalise import Normaliser, Scaling
from training.networks.recurrent import Recurrent
from training.recipe import Recipe

KINDS = (
    *("gru", "gru before", "lstm", "rnn", "attention"),
    *("gru+dot", "lstm+general", "rnn+concat"),
)


def network(*, missing: bool = False, known: int = 0, **settings: object) -> Forecaster:
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "horizon": 4,
            "max_length": 12,
            "data": {
                "source": "none.csv",
                "time": "time",
                "targets": ["a", "b"],
                "features": ["c"],
                "known": ["d", "e"][:known],
                "frequency": "1h",
            },
            "network": {
                "hidden": 8,
                "heads": 2,
                **settings,
                **words_of(str(settings.get("kind", "gru"))),
            },
        }
    )
    columns = len(recipe.data.columns)
    scaling = Scaling(np.linspace(-5, 50, columns, dtype="f4"), np.full(columns, 7, "f4"))
    torch.manual_seed(1)
    return build(recipe, scaling, missing=missing).eval()


def rows(net: Forecaster, batch: int = 3, time: int = 12) -> torch.Tensor:
    columns = len(net.normaliser.mean)
    noise = torch.randn(batch, time, columns, generator=torch.Generator().manual_seed(2))
    return net.normaliser.mean + net.normaliser.scale * noise


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(0.01, 1e4),
    st.sampled_from([(0.5,), (0.1, 0.5), (0.5, 0.9), (0.05, 0.1, 0.5, 0.9)]),
    st.sampled_from([0, 2]),
)
def test_quantiles_never_cross_for_any_weights(seed, size, levels, known):
    torch.manual_seed(seed)
    head = DirectHead(8, horizon=3, outputs=2 * len(levels), known=known)
    quantiles = Quantiles(levels, targets=2)
    torch.nn.init.uniform_(quantiles.stretch, 0, size)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=size)
    answer = quantiles(head(torch.randn(5, 8), torch.randn(5, 3, known) if known else None))
    assert answer.shape == (5, 3, 2, len(levels))
    assert (answer.diff(dim=-1) >= 0).all()


def test_a_gap_between_quantiles_is_positive_smooth_and_increasing():
    x = torch.linspace(-50, 50, 1001, dtype=torch.float64, requires_grad=True)
    gaps = positive(x)
    (slope,) = torch.autograd.grad(gaps.sum(), x)
    assert (gaps > 0).all()
    assert (gaps.diff() > 0).all()
    assert (slope > 0).all()
    assert slope[500] == pytest.approx(1)


@pytest.mark.parametrize(
    ("kind", "normalisation", "missing"),
    list(product(KINDS, ("last", "reversible", "scaled", "global", "running"), (False, True))),
)
def test_neither_padding_nor_neighbours_reach_an_answer(kind, normalisation, missing):
    net = network(kind=kind, normalisation=normalisation, missing=missing, linear_steps=5)
    torch.nn.init.normal_(net.skip.map.weight)
    sequences, lengths = rows(net), torch.tensor([12, 1, 7])
    if missing:
        sequences[2, 3:7, 0] = torch.nan
    for row, length in enumerate(lengths):
        sequences[row, length:] = torch.nan
    together, weights = (x if x is None else x.detach() for x in net(sequences, lengths))
    for row, length in enumerate(lengths):
        alone, alone_weights = net(sequences[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], rtol=1e-5, atol=1e-4)
        if weights is not None:
            torch.testing.assert_close(weights[row, :length], alone_weights[0])
            assert weights[row].sum() == pytest.approx(1)
            assert (weights[row, length:] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_last_value_as_reference_a_shifted_row_gives_a_shifted_answer(kind):
    net = network(kind=kind, normalisation="last", linear_steps=3)
    sequences, lengths = rows(net), torch.tensor([12, 12, 12])
    shift = torch.tensor([10.0, -3.0, 0.0])
    expected = net(sequences, lengths)[0] + shift[:2, None]
    torch.testing.assert_close(net(sequences + shift, lengths)[0], expected, rtol=1e-4, atol=1e-4)


def test_with_the_row_as_reference_a_stretched_row_gives_a_stretched_answer():
    net = network(kind="gru", normalisation="reversible")
    net.normaliser.mean.zero_()
    sequences, lengths = rows(net), torch.tensor([12, 12, 12])
    sequences[..., :2] += 10
    stretched = sequences.clone()
    stretched[..., :2] *= 3
    answer, expected = net(stretched, lengths)[0], 3 * net(sequences, lengths)[0]
    torch.testing.assert_close(answer, expected, rtol=1e-3, atol=1e-3)


def test_the_last_observed_value_is_the_reference_where_the_last_is_missing():
    scaling = Scaling(np.zeros(1, "f4"), np.ones(1, "f4"))
    normaliser = Normaliser(scaling, 1, 0, kind="last", missing=True)
    nan = torch.nan
    rows = torch.tensor([[[1.0], [4.0], [nan], [9.0]], [[nan], [nan], [nan], [5.0]]])
    batch = normaliser(rows, torch.tensor([3, 3]))
    assert batch.shift.flatten().tolist() == [4.0, 0.0]
    assert batch.inputs[0].tolist() == [[-3.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert batch.inputs[1].eq(0).all()


def test_covariates_known_ahead_change_the_step_they_belong_to():
    net = network(kind="gru", known=2)
    sequences, lengths = rows(net), torch.tensor([12, 5, 3])
    future = torch.zeros(3, 4, 2)
    before = net(sequences, lengths, future)[0]
    future[:, 2] = 50
    changed = (net(sequences, lengths, future)[0] != before).flatten(2).any(-1)
    assert changed.all(0).tolist() == [False, False, True, False]


def test_scaling_skips_nan_and_leaves_a_constant_column_alone():
    nan = np.nan
    table = np.array([[1.0, 5, nan, 1e6], [3.0, 5, nan, 1e6], [nan, 5, nan, 1e6]], "f4")
    scaling = Scaling.learn(table)
    assert scaling.mean.tolist() == [2.0, 5.0, 0.0, 1e6]
    assert scaling.scale.tolist() == [1.0, 1.0, 1.0, 1.0]
    assert scaling.mean.dtype == scaling.scale.dtype == np.float32


def test_the_loss_is_the_textbook_quantile_loss_over_what_was_observed():
    levels = torch.tensor([0.1, 0.5])
    predictions = torch.tensor([[[[1.0, 2.0]], [[7.0, 7.0]]]])
    actuals = torch.tensor([[[3.0], [torch.nan]]])
    assert pinball(levels, predictions, actuals) == pytest.approx((0.1 * 2 + 0.5 * 1) / 2)
    nothing = pinball(levels, predictions, torch.full_like(actuals, torch.nan))
    assert nothing == 0


def test_targets_weighted_by_their_scale_are_charged_as_in_the_units_of_the_data():
    scales = np.array([1.0, 10.0], "f4")
    plain, weighted = (
        Forecaster(
            Normaliser(Scaling(scales * 3, scales), 2, 0, kind="standard", missing=False),
            Recurrent("gru", 2, 8, 1, 0.0),
            DirectHead(8, 4, 2, 0),
            quantiles=[0.5],
            weighted=weighted,
        )
        for weighted in (False, True)
    )
    weighted.load_state_dict(plain.state_dict())
    sequences = torch.from_numpy(rows_of(scales))
    lengths, actuals = torch.tensor([12, 7]), torch.from_numpy(rows_of(scales)[:, :4] * 1.5)
    answers = plain(sequences, lengths)[0][..., 0].detach()
    errors = (answers - actuals).abs().mean((0, 1)) / 2  # the median's pinball loss, by target
    standard = errors / torch.from_numpy(scales)
    asked = sequences, lengths, None, actuals
    assert plain.loss(*asked).item() == pytest.approx(float(standard.mean()))
    in_units = float(errors.mean()) / scales.mean()
    assert weighted.loss(*asked).item() == pytest.approx(in_units, rel=1e-5)


def rows_of(scales):
    """Return (2, 12, targets), each target as large as its scale."""
    steps = np.random.default_rng(3).standard_normal((2, 12, len(scales)))
    return (steps * scales + 3 * scales).astype("f4")


def test_a_missing_actual_sends_no_gradient():
    predictions = torch.ones(1, 2, 1, 3, requires_grad=True)
    levels = torch.tensor([0.1, 0.5, 0.9])
    pinball(levels, predictions, torch.tensor([[[2.0], [torch.nan]]])).backward()
    assert predictions.grad[0, 0].abs().min() > 0
    assert (predictions.grad[0, 1] == 0).all()


@pytest.mark.parametrize("size", [1e-3, 30.0, 1e3])
def test_reversible_rows_of_any_size_are_alike_to_the_network(size):
    net = network(normalisation="reversible")
    sequences, lengths = rows(net), torch.tensor([12, 7, 3])
    larger = sequences.clone()
    larger[..., :2] *= size  # the targets; the covariate stays as it is
    with torch.no_grad():
        one, other = net(sequences, lengths)[0], net(larger, lengths)[0]
    np.testing.assert_allclose(other / size, one, rtol=1e-3, atol=1e-2)
