"""What truncated backpropagation and state decay do to a gradient, and not to an answer."""

import numpy as np
import pytest
import torch
from torch import nn

from training.networks.cells import parameters
from training.networks.equations import CELLS, Weights, sigmoid
from training.networks.pooling import AttentionPool
from training.networks.recurrent import Recurrent

INPUTS, HIDDEN, LENGTHS = 3, 5, (12, 1, 4, 9, 5)
cells = pytest.mark.parametrize("cell", sorted(CELLS), ids=" ".join)


def drawn(cell, score=None, **options) -> Recurrent:
    kind, reset = cell
    torch.manual_seed(0)
    pool = None if score is None else AttentionPool(score, HIDDEN)
    reader = Recurrent(kind, INPUTS, HIDDEN, 2, 0.0, reset, pool=pool, **options)
    for parameter in reader.parameters():
        nn.init.normal_(parameter, std=0.5)
    return reader.train()


def rows():
    torch.manual_seed(1)
    sequences = torch.randn(len(LENGTHS), max(LENGTHS), INPUTS)
    return sequences.requires_grad_(), torch.tensor(LENGTHS)


def gradients(reader, sequences, lengths):
    """Return those of a weighted sum of the answers: of the inputs, and of all parameters."""
    answers, _ = reader(sequences, lengths)
    weights = torch.linspace(-1, 1, answers.numel()).reshape(answers.shape)
    wanted = [sequences, *reader.parameters()]
    return torch.autograd.grad((weights * answers).sum(), wanted, allow_unused=True)


@cells
@pytest.mark.parametrize("steps", [1, 4, 11])
def test_a_gradient_goes_back_exactly_so_many_steps_in_every_row(cell, steps):
    sequences, lengths = rows()
    of_inputs, *_ = gradients(drawn(cell, truncate=steps), sequences, lengths)
    for row, length in enumerate(LENGTHS):
        border = max(length - steps, 0)
        assert not of_inputs[row, :border].any()
        assert not of_inputs[row, length:].any()
        assert of_inputs[row, border:length].any(dim=-1).all()


@cells
@pytest.mark.parametrize("steps", [12, 13, 100])
def test_rows_that_are_not_longer_get_the_whole_gradient(cell, steps):
    sequences, lengths = rows()
    whole = gradients(drawn(cell), sequences, lengths)
    cut = gradients(drawn(cell, truncate=steps), sequences, lengths)
    for one, other in zip(whole, cut, strict=True):
        assert torch.equal(one, other)


@cells
def test_the_gradient_is_that_of_the_last_steps_from_a_state_that_is_given(cell):
    """By hand: read up to the border, forget how, and go on from there."""
    steps, length = 4, 9
    reader, (sequences, _) = drawn(cell, truncate=steps), rows()
    row = sequences[:1, :length]
    found = gradients(reader, row, torch.tensor([length]))
    with torch.no_grad():
        past = reader.stack(row[:, :-steps], torch.tensor([length - steps]), ends=True)
    answers = reader.stack(row[:, -steps:], torch.tensor([steps]), past.ends).last
    weights = torch.linspace(-1, 1, HIDDEN)
    wanted = torch.autograd.grad((weights * answers).sum(), [row, *reader.parameters()])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@cells
@pytest.mark.parametrize("score", [None, "general"])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_answer_is_that_of_the_whole_row(cell, score, layer_norm):
    sequences, lengths = rows()
    options = {"score": score, "layer_norm": layer_norm}
    whole, weights = drawn(cell, **options)(sequences, lengths)
    for steps in (1, 4, 11):
        cut, others = drawn(cell, truncate=steps, **options)(sequences, lengths)
        torch.testing.assert_close(cut, whole, rtol=0, atol=1e-6)
        if score:
            torch.testing.assert_close(others, weights, rtol=0, atol=1e-6)


@cells
def test_attention_looks_at_all_states_and_teaches_the_last_ones(cell):
    sequences, lengths = rows()
    of_inputs, *_ = gradients(drawn(cell, truncate=4, score="general"), sequences, lengths)
    for row, length in enumerate(LENGTHS):
        assert not of_inputs[row, : max(length - 4, 0)].any()


def test_a_network_that_does_not_train_is_read_in_one_piece():
    sequences, lengths = rows()
    plain = drawn(("lstm", "after")).eval()
    cut = drawn(("lstm", "after"), truncate=4).eval()
    assert torch.equal(cut(sequences, lengths)[0], plain(sequences, lengths)[0])
    of_inputs, *_ = gradients(cut, sequences, lengths)
    assert of_inputs[0, 0].any()


def remembered(cell, sequence, weights):
    """Return c of an LSTM after each step, else h, and h, both (time, hidden), in numpy."""
    if cell[0] != "lstm":
        h = CELLS[cell](sequence, weights)
        return h, h
    w, u, wb, ub = weights
    h, c, found = np.zeros(HIDDEN), np.zeros(HIDDEN), []
    for x in sequence:
        i, f, new, o = np.split(w @ x + wb + u @ h + ub, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(new)
        h = sigmoid(o) * np.tanh(c)
        found.append((c, h))
    return tuple(map(np.array, zip(*found, strict=True)))


def energy_by_equation(cell, weights, sequences, lengths):
    """Return the mean of c^2 over layers, units and valid steps; ``weights`` of each layer."""
    squares = []
    for row, length in enumerate(lengths):
        states = sequences[row, :length]
        for layer in weights:
            memory, states = remembered(cell, states, layer)
            squares.append(memory**2)
    return np.concatenate([each.ravel() for each in squares]).mean()


def layers_of(reader):
    return [
        Weights(*(each.detach().double().numpy() for each in parameters(direction.cell)))
        for (direction,) in reader.stack.by_layer()
    ]


@cells
def test_state_decay_adds_the_gradient_of_its_formula(cell):
    """By central differences of the formula in numpy, at a few numbers of each weight."""
    reader, (sequences, lengths) = drawn(cell, keep_energy=True), rows()
    reader(sequences, lengths)
    energy = reader.take_energy()
    weights, table = layers_of(reader), sequences.detach().double().numpy()
    wanted = energy_by_equation(cell, weights, table, LENGTHS)
    assert energy.item() == pytest.approx(wanted, rel=1e-5)
    energy.backward()
    random, step = np.random.default_rng(0), 1e-5
    for (direction,), layer in zip(reader.stack.by_layer(), weights, strict=True):
        for parameter, array in zip(parameters(direction.cell), layer, strict=True):
            for place in random.integers(0, array.shape, (3, array.ndim)):
                index, found = tuple(place), []
                before = array[index]
                for moved in (before + step, before - step):
                    array[index] = moved
                    found.append(energy_by_equation(cell, weights, table, LENGTHS))
                array[index] = before
                slope = (found[0] - found[1]) / (2 * step)
                assert parameter.grad[index].item() == pytest.approx(slope, rel=1e-3, abs=1e-6)


@cells
def test_what_lies_beyond_a_row_costs_nothing(cell):
    reader, (sequences, lengths) = drawn(cell, keep_energy=True, bidirectional=True), rows()
    reader(sequences, lengths)
    first = reader.take_energy()
    (slope,) = torch.autograd.grad(first, [sequences])
    for row, length in enumerate(LENGTHS):
        assert not slope[row, length:].any()
        assert slope[row, :length].any()
    changed = sequences.detach().clone()
    for row, length in enumerate(LENGTHS):
        changed[row, length:] = 100.0
    reader(changed, lengths)
    torch.testing.assert_close(reader.take_energy(), first)


@cells
def test_truncated_the_cost_is_that_of_the_last_steps(cell):
    steps, sequences = 4, rows()[0][:1]
    reader = drawn(cell, keep_energy=True, truncate=steps)
    reader(sequences, torch.tensor([12]))
    (slope,) = torch.autograd.grad(reader.take_energy(), [sequences])
    assert not slope[0, :-steps].any()
    assert slope[0, -steps:].any(dim=-1).all()


@cells
def test_keeping_the_energy_changes_neither_parameters_nor_answers(cell):
    sequences, lengths = rows()
    plain, kept = drawn(cell), drawn(cell, keep_energy=True)
    assert plain.state_dict().keys() == kept.state_dict().keys()
    torch.testing.assert_close(
        kept(sequences, lengths)[0], plain(sequences, lengths)[0], rtol=0, atol=1e-6
    )
    for one, other in zip(*(gradients(r, sequences, lengths) for r in (plain, kept)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@cells
@pytest.mark.parametrize(
    "options", [{}, {"keep_energy": True}, {"truncate": 4, "keep_energy": True}, {"truncate": 4}]
)
def test_every_cell_trains_under_mixed_precision_too(cell, options):
    sequences, lengths = rows()
    exact, mixed = drawn(cell, **options), drawn(cell, **options)
    wanted, _ = exact(sequences, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = mixed(sequences, lengths)
    torch.testing.assert_close(found.float(), wanted, rtol=0, atol=0.05)
    energies = exact.take_energy(), mixed.take_energy()
    if options.get("keep_energy"):
        torch.testing.assert_close(energies[1], energies[0], rtol=0.05, atol=0)
    found.float().sum().backward()
    assert all(p.grad is not None for p in mixed.stack.parameters())


def test_nothing_is_kept_that_was_not_asked_for_and_all_is_taken_once():
    sequences, lengths = rows()
    plain, kept = drawn(("lstm", "after")), drawn(("lstm", "after"), keep_energy=True)
    plain(sequences, lengths)
    assert plain.take_energy() is None
    kept(sequences, lengths)
    assert kept.take_energy() is not None
    assert kept.take_energy() is None
    kept.eval()(sequences, lengths)
    assert kept.take_energy() is None
