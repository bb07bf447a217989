"""Attention over a cell's states is its equation, whatever the score and the lengths."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.contract import ModelCard
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner
from service.engine.selfcheck import check
from training.export import write_model
from training.networks import Scaling, build
from training.networks.attention_equations import local_monotonic, local_predicted
from training.networks.equations import attend, sigmoid
from training.networks.pooling import AttentionPool
from training.parity import TOLERANCE, check_parity
from training.recipe import Recipe

HIDDEN = 6
SCORES = ("dot", "general", "concat")


def by_equation(pool: AttentionPool, states):
    numbers = {name: value.detach().double().numpy() for name, value in pool.named_parameters()}

    def score(query, state):
        if pool.score == "dot":
            return query @ state
        if pool.score == "general":
            return query @ numbers["key.weight"] @ state
        mixed = numbers["from_query.weight"] @ query + numbers["from_query.bias"]
        mixed = np.tanh(mixed + numbers["from_state.weight"] @ state)
        return float((numbers["value.weight"] @ mixed).item())

    if pool.local == "monotonic":
        context, weights = local_monotonic(states, score, pool.window)
    elif pool.local == "predicted":
        hidden = np.tanh(numbers["centre.weight"] @ states[-1])
        centre = len(states) * sigmoid((numbers["centre_value.weight"] @ hidden).item())
        context, weights = local_predicted(states, score, pool.window, centre)
    else:
        context, weights = attend(states, score)
    merged = numbers["merge.weight"] @ np.concatenate([context, states[-1]])
    return np.tanh(merged + numbers["merge.bias"]), weights


@pytest.mark.parametrize("score", SCORES)
def test_torch_computes_the_equation_and_no_padding_counts(score):
    torch.manual_seed(0)
    pool = AttentionPool(score, HIDDEN)
    for parameter in pool.parameters():
        nn.init.normal_(parameter, std=0.5)
    states, lengths = torch.randn(4, 9, HIDDEN), torch.tensor([9, 1, 5, 8])
    for row, length in enumerate(lengths):
        states[row, length:] = 1e6
    last = torch.stack([states[row, length - 1] for row, length in enumerate(lengths)])
    with torch.no_grad():
        merged, weights = pool(states, last, lengths)
    for row, length in enumerate(lengths):
        wanted, shares = by_equation(pool, states[row, :length].double().numpy())
        np.testing.assert_allclose(merged[row].numpy(), wanted, rtol=0, atol=1e-5)
        np.testing.assert_allclose(weights[row, :length].numpy(), shares, rtol=0, atol=1e-6)
        assert weights[row].sum() == pytest.approx(1)
        assert not weights[row, length:].any()


def test_the_scores_are_three_different_ones():
    states, length = torch.randn(1, 9, HIDDEN), torch.tensor([9])
    found = []
    for score in SCORES:
        torch.manual_seed(0)
        found.append(AttentionPool(score, HIDDEN)(states, states[:, -1], length)[1].detach())
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (found[one] - found[other]).abs().max() > 1e-3


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(SCORES),
    st.sampled_from(["monotonic", "predicted"]),
    st.integers(1, 30),
    st.lists(st.integers(1, 25), min_size=1, max_size=4),
    st.integers(0, 2**31),
)
def test_local_attention_is_its_equation_for_any_window_and_lengths(
    score, local, window, lengths, seed
):
    pool = drawn(score, local, window, seed)
    states = torch.randn(len(lengths), max(lengths) + 2, HIDDEN, dtype=torch.float64)
    last = torch.stack([states[row, length - 1] for row, length in enumerate(lengths)])
    with torch.no_grad():
        merged, weights = pool(states, last, torch.tensor(lengths))
    assert weights.shape == states.shape[:2]
    for row, length in enumerate(lengths):
        wanted, shares = by_equation(pool, states[row, :length].numpy())
        np.testing.assert_allclose(merged[row], wanted, rtol=0, atol=1e-9)
        np.testing.assert_allclose(weights[row, :length], shares, rtol=0, atol=1e-9)
        assert weights[row].sum() == pytest.approx(1)
        assert not weights[row, length:].any()


def drawn(score, local, window, seed) -> AttentionPool:
    torch.manual_seed(seed)
    pool = AttentionPool(score, HIDDEN, local, window).double()
    for parameter in pool.parameters():
        nn.init.normal_(parameter, std=0.8)
    return pool


@pytest.mark.parametrize("local", ["monotonic", "predicted"])
def test_a_state_outside_the_window_changes_nothing(local):
    pool, time, window = drawn("general", local, 4, seed=2), 60, 4
    states, lengths = torch.randn(1, time, HIDDEN, dtype=torch.float64), torch.tensor([time])
    last = states[:, -1].clone()
    with torch.no_grad():
        merged, weights = pool(states, last, lengths)
        outside = weights[0] == 0
        assert (~outside).sum() <= 2 * window + 2
        states[0, outside] = 1e6
        again, _ = pool(states, last, lengths)
    assert torch.equal(again, merged)


def test_the_answer_moves_smoothly_where_a_step_enters_or_leaves_the_window():
    """A last bit of the centre must not show: no two batches share it."""
    pool, lengths = drawn("dot", "predicted", 3, seed=3), torch.tensor([40])
    states = torch.randn(1, 40, HIDDEN, dtype=torch.float64)
    answers = []
    for centre in np.linspace(17, 19.5, 2501):
        pool.predict = lambda *_, at=centre: torch.tensor([at])
        with torch.no_grad():
            answers.append(pool(states, states[:, -1], lengths)[0])
    steps = torch.cat(answers).diff(dim=0).abs().amax(-1)
    assert steps.max() < 0.01
    assert (answers[0] - answers[-1]).abs().max() > 0.1


def test_the_centre_learns():
    pool, lengths = drawn("dot", "predicted", 3, seed=4), torch.tensor([40, 3, 1])
    states = torch.randn(3, 40, HIDDEN, dtype=torch.float64)

    def merged(last, *_):
        return pool(states, last, lengths)[0]

    last = states[:, 2].clone().requires_grad_()
    assert torch.autograd.gradcheck(merged, (last, *pool.parameters()))
    merged(last).sum().backward()
    assert pool.centre_value.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("kind", "score", "local"),
    [("gru", "dot", "monotonic"), ("lstm", "concat", "predicted"), ("rnn", "general", "predicted")],
)
def test_what_is_exported_answers_as_the_network_and_passes_the_check_of_the_service(
    kind, score, local, tmp_path
):
    recipe = Recipe.model_validate(
        {
            "name": "any",
            "horizon": 4,
            "max_length": 48,
            "data": {"source": "none", "time": "ds", "targets": ["y"], "frequency": "1h"},
            "network": {"kind": kind, "score": score, "local": local, "window": 5, "hidden": 16},
        }
    )
    torch.manual_seed(1)
    one = np.ones(1, np.float32)
    network = build(recipe, Scaling(0 * one, one)).eval()
    for parameter in network.reader.parameters():
        nn.init.normal_(parameter, std=0.3)
    card = ModelCard(
        name="any", features=("y",), targets=("y",), horizon=4, max_length=48,
        quantiles=recipe.quantiles, frequency="1h",
    )  # fmt: skip
    path = tmp_path / "1.onnx"
    card = write_model(network, card, path)
    assert check_parity(network, path, card) < TOLERANCE / 10
    runner = OnnxRunner(path, Device("cpu", "a test"))
    check(runner, runner.card, "cpu")
    rows = [np.random.default_rng(n).normal(size=(n, 1)).astype("f4") for n in (1, 48, 7)]
    for answer in runner.run([Row(each, None, explain=True) for each in rows]):
        assert answer.attention.sum() == pytest.approx(1, abs=1e-5)
        assert (answer.attention > 0).sum() <= (5 if local == "monotonic" else 12)
