"""Layers over each other, both ways and normalised: the equations, whatever lies beyond a row."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from training.networks.cells import parameters
from training.networks.equations import CELLS, Weights, bidirectional, layer_norm
from training.networks.stack import Stack, reverse

INPUTS, HIDDEN, LENGTHS = 3, 5, (9, 1, 4, 8)
FORMS = [(False, True), (True, False), (True, True)]  # both ways, normalised


def drawn(cell, layers=2, *, both=False, norm=False) -> Stack:
    torch.manual_seed(0)
    stack = Stack(*cell, INPUTS, HIDDEN, layers, 0.0, bidirectional=both, norm=norm)
    for parameter in stack.parameters():
        nn.init.normal_(parameter, std=0.5)
    return stack


def numbers(*tensors):
    return [tensor.detach().double().numpy() for tensor in tensors]


def reader(cell, direction):
    """Return what one direction computes of a sequence (time, inputs), in numpy."""

    def read(sequence):
        states = CELLS[cell](sequence, Weights(*numbers(*parameters(direction.cell))))
        if isinstance(direction.norm, nn.Identity):
            return states
        return layer_norm(states, *numbers(direction.norm.weight, direction.norm.bias))

    return read


def by_equation(stack, cell, sequence):
    states, ends = sequence, sequence[-1]
    for layer in stack.by_layer():
        readers = [reader(cell, direction) for direction in layer]
        if len(readers) == 2:
            states, ends = bidirectional(*readers, states)
        else:
            states = readers[0](states)
            ends = states[-1]
    return states, ends


def rows(seed=0):
    """Return rows of mixed lengths; beyond each, numbers that would show."""
    torch.manual_seed(seed)
    sequences = torch.randn(len(LENGTHS), max(LENGTHS), INPUTS)
    for row, length in enumerate(LENGTHS):
        sequences[row, length:] = 7.0
    return sequences, torch.tensor(LENGTHS)


@pytest.mark.parametrize(("both", "norm"), FORMS)
@pytest.mark.parametrize("cell", sorted(CELLS), ids=" ".join)
@pytest.mark.parametrize("layers", [1, 3])
def test_a_stack_computes_the_equations_and_no_padding_leaks_in(cell, layers, both, norm):
    stack = drawn(cell, layers, both=both, norm=norm)
    sequences, lengths = rows()
    with torch.no_grad():
        found = stack(sequences, lengths)
    for row, length in enumerate(LENGTHS):
        states, ends = by_equation(stack, cell, sequences[row, :length].double().numpy())
        np.testing.assert_allclose(found.states[row, :length], states, rtol=0, atol=2e-6)
        np.testing.assert_allclose(found.last[row], ends, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_both_ways_are_those_of_torch_itself(kind):
    stack = drawn((kind, "after"), both=True)
    theirs = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](
        INPUTS, HIDDEN, 2, batch_first=True, bidirectional=True
    )
    ours = [p for layer in stack.by_layer() for each in layer for p in each.parameters()]
    for one, other in zip(theirs.parameters(), ours, strict=True):
        one.data.copy_(other)
    sequences = torch.randn(3, 7, INPUTS)
    found, _ = theirs(sequences)
    torch.testing.assert_close(stack(sequences, torch.tensor([7, 7, 7])).states, found)


@pytest.mark.parametrize(("both", "norm"), FORMS)
@pytest.mark.parametrize("cell", sorted(CELLS), ids=" ".join)
def test_no_gradient_comes_from_beyond_a_row(cell, both, norm):
    sequences, lengths = rows()
    sequences.requires_grad_()
    drawn(cell, both=both, norm=norm)(sequences, lengths).last.sum().backward()
    for row, length in enumerate(LENGTHS):
        assert not sequences.grad[row, length:].any()
        assert sequences.grad[row, :length].any(dim=-1).all()


def test_each_row_is_turned_round_within_its_length():
    sequences = torch.arange(10.0).reshape(2, 5, 1)
    turned = reverse(sequences, torch.tensor([3, 5]))[..., 0]
    assert turned.tolist() == [[2, 1, 0, 3, 4], [9, 8, 7, 6, 5]]


@pytest.mark.parametrize(("memory", "end"), list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("cell", sorted(CELLS), ids=" ".join)
def test_what_is_asked_for_besides_changes_no_answer(cell, memory, end):
    stack, (sequences, lengths) = drawn(cell), rows()
    plain = stack(sequences, lengths)
    asked = stack(sequences, lengths, energy=memory, ends=end)
    torch.testing.assert_close(asked.last, plain.last, rtol=0, atol=1e-6)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(
            asked.states[row, :length], plain.states[row, :length], rtol=0, atol=1e-6
        )
    assert (asked.energy is not None) == memory
    assert len(asked.ends) == (2 if end else 0)


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("cell", sorted(CELLS), ids=" ".join)
def test_a_reading_goes_on_from_the_ends_of_another_wherever_each_row_was_cut(cell, memory):
    stack, (sequences, lengths) = drawn(cell, norm=True), rows()
    cuts = torch.tensor([4, 0, 3, 8]).minimum(lengths - 1)
    first = stack(sequences, cuts, ends=True, energy=memory)
    rest = torch.zeros_like(sequences)
    for row, (cut, length) in enumerate(zip(cuts, LENGTHS, strict=True)):
        rest[row, : length - cut] = sequences[row, cut:length]
    second = stack(rest, lengths - cuts, first.ends, energy=memory)
    torch.testing.assert_close(second.last, stack(sequences, lengths).last, rtol=0, atol=1e-6)


def test_a_normalised_layer_gives_out_states_of_mean_zero_and_deviation_one():
    stack = Stack("lstm", "after", INPUTS, 32, 1, 0.0, norm=True)
    states = stack(torch.randn(2, 6, INPUTS), torch.tensor([6, 6])).states
    torch.testing.assert_close(states.mean(-1), torch.zeros(2, 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(states.std(-1, correction=0), torch.ones(2, 6), atol=1e-2, rtol=0)
