"""Attention over a cell's states is its equation, whatever the score and the lengths."""

import numpy as np
import pytest
import torch
from torch import nn

from training.networks.equations import attend
from training.networks.pooling import AttentionPool

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
