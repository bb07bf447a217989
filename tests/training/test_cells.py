"""Each cell is its equation: in torch, in ONNX Runtime, for any weights and any lengths."""

import io
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.export import Dim

from models.contract import ModelCard
from service.engine.runner import Device, OnnxRunner
from service.engine.selfcheck import check
from training.export import write_model
from training.networks import Scaling, build
from training.networks.cells import ResetBeforeGRU, parameters
from training.networks.equations import CELLS, Weights, gru
from training.networks.recurrent import Recurrent
from training.networks.stack import Stack
from training.recipe import Recipe

WITHIN = 1e-6
INPUTS, HIDDEN = 3, 5
NODES = {"lstm": "LSTM", "gru": "GRU", "rnn": "GRU"}  # the RNN node of the runtime is not exact
cells = st.sampled_from(sorted(CELLS))
rows = st.lists(st.integers(1, 12), min_size=1, max_size=4)


def drawn(cell, layers, seed) -> Recurrent:
    kind, reset = cell
    torch.manual_seed(seed)
    network = Recurrent(kind, INPUTS, HIDDEN, layers, 0.0, reset).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network


def layer(network, number) -> Weights:
    (direction,) = network.stack.layers[number]
    return Weights(*(each.detach().double().numpy() for each in parameters(direction.cell)))


def by_equation(network, cell, sequence):
    states = sequence
    for number in range(len(network.stack.layers)):
        states = CELLS[cell](states, layer(network, number))
    return states[-1]


def inputs(lengths, seed):
    random = np.random.default_rng(seed)
    return random.normal(size=(len(lengths), max(lengths), INPUTS)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(cells, st.integers(1, 3), rows, st.integers(0, 2**31))
def test_torch_computes_the_equation_whatever_the_lengths(cell, layers, lengths, seed):
    network, sequences = drawn(cell, layers, seed), inputs(lengths, seed)
    with torch.no_grad():
        found, _ = network(torch.from_numpy(sequences), torch.tensor(lengths))
    for row, length in enumerate(lengths):
        wanted = by_equation(network, cell, sequences[row, :length].astype(float))
        np.testing.assert_allclose(found[row].numpy(), wanted, rtol=0, atol=WITHIN)


def session(network) -> tuple[onnx.ModelProto, onnxruntime.InferenceSession]:
    shapes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, {0: Dim.DYNAMIC})
    example = torch.zeros(3, 4, INPUTS), torch.tensor([4, 2, 1])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        program = torch.onnx.export(
            First(network).eval(),
            example,
            dynamo=True,
            verbose=False,
            dynamic_shapes={"inputs": shapes},
        )
    file = io.BytesIO()
    onnx.save(program.model_proto, file)
    return program.model_proto, onnxruntime.InferenceSession(
        file.getvalue(), providers=["CPUExecutionProvider"]
    )


class First(nn.Module):
    """The state alone, without the attention a recurrent network has not."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *inputs):
        return self.network(*inputs)[0]


@pytest.mark.parametrize("cell", sorted(CELLS), ids=" ".join)
@pytest.mark.parametrize("layers", [1, 2])
def test_one_native_node_a_layer_computes_the_equation_and_stops_at_each_length(cell, layers):
    network = drawn(cell, layers, seed=layers)
    graph, run = session(network)
    nodes = [node for node in graph.graph.node if node.op_type in ("LSTM", "GRU", "RNN")]
    assert [node.op_type for node in nodes] == [NODES[cell[0]]] * layers
    assert all(node.input[4] for node in nodes)  # sequence_lens
    names = [node.name for node in run.get_inputs()]
    for seed, lengths in enumerate(([1], [12, 3, 7], [5, 5], [1, 2, 3, 4, 20])):
        sequences = inputs(lengths, seed)
        dirty = sequences.copy()
        for row, length in enumerate(lengths):
            dirty[row, length:] = np.nan
        (found,) = run.run(None, dict(zip(names, (dirty, np.array(lengths)), strict=True)))
        for row, length in enumerate(lengths):
            wanted = by_equation(network, cell, sequences[row, :length].astype(float))
            np.testing.assert_allclose(found[row], wanted, rtol=0, atol=WITHIN)
            alone = dict(zip(names, (sequences[row : row + 1, :length], [length]), strict=True))
            (same,) = run.run(None, {k: np.asarray(v) for k, v in alone.items()})
            assert found[row].tobytes() == same[0].tobytes()


def test_the_two_grus_are_not_the_same_cell():
    network = drawn(("gru", "after"), 1, seed=0)
    sequence = inputs([12], 0)[0].astype(float)
    after, before = (gru(sequence, layer(network, 0), reset) for reset in ("after", "before"))
    assert np.abs(after - before).max() > 0.01


def test_an_update_gate_the_other_way_round_is_the_same_family_with_negated_weights():
    weights = layer(drawn(("gru", "after"), 1, seed=3), 0)
    negated = Weights(*(each.copy() for each in weights))
    for each in negated:
        each[HIDDEN : 2 * HIDDEN] *= -1
    sequence = inputs([9], 3)[0].astype(float)
    state = np.zeros(HIDDEN)
    for step, x in enumerate(sequence):
        # One step of the equation with z and 1 - z exchanged, from the state of the other.
        gates = weights.w @ x + weights.wb
        moved = weights.u @ state + weights.ub
        r, z = 1 / (1 + np.exp(-(gates + moved)[: 2 * HIDDEN])).reshape(2, HIDDEN)
        new = np.tanh(gates[2 * HIDDEN :] + r * moved[2 * HIDDEN :])
        state = z * new + (1 - z) * state
        np.testing.assert_allclose(gru(sequence, negated)[step], state, atol=1e-12)


def test_a_gru_with_its_reset_gate_before_learns_as_the_equation_says():
    """Its gradient is that of the equation, by central differences in double precision."""
    torch.manual_seed(0)
    cell = ResetBeforeGRU(INPUTS, HIDDEN, batch_first=True).double()
    sequences = torch.randn(2, 6, INPUTS, dtype=torch.float64, requires_grad=True)

    def last(sequences, *_):
        return cell(sequences)[0][:, -1]

    assert torch.autograd.gradcheck(last, (sequences, *cell.parameters()))


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_acts_between_the_layers_in_training_only(layers):
    torch.manual_seed(0)
    stack = Stack("gru", "before", INPUTS, HIDDEN, layers, dropout=0.5)
    rows = torch.randn(2, 6, INPUTS), torch.tensor([6, 4])
    stack.eval()
    assert torch.equal(stack(*rows).last, stack(*rows).last)
    stack.train()
    assert torch.equal(stack(*rows).last, stack(*rows).last) == (layers == 1)


@pytest.mark.parametrize(
    ("score", "form"),
    [
        (None, {}),
        ("dot", {}),
        ("general", {}),
        ("concat", {}),
        (None, {"bidirectional": True, "layer_norm": True}),
        ("general", {"bidirectional": True, "layer_norm": True}),
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", sorted(CELLS), ids=" ".join)
def test_what_is_exported_passes_the_check_of_the_service(cell, score, form, tmp_path):
    """With weights as large as training makes them: untrained ones forgive much."""
    kind, reset = cell
    recipe = Recipe.model_validate(
        {
            "name": "any",
            "horizon": 4,
            "max_length": 48,
            "data": {"source": "none", "time": "ds", "targets": ["y"], "frequency": "1h"},
            "network": {"kind": kind, "reset": reset, "score": score, "hidden": 32} | form,
        }
    )
    torch.manual_seed(1)
    one = np.ones(1, np.float32)
    network = build(recipe, Scaling(0 * one, one)).eval()
    for parameter in network.reader.parameters():
        nn.init.normal_(parameter, std=0.2)
    card = ModelCard(
        name="any", features=("y",), targets=("y",), horizon=4, max_length=48,
        quantiles=recipe.quantiles, frequency="1h",
    )  # fmt: skip
    card = write_model(network, card, tmp_path / "1.onnx")
    runner = OnnxRunner(tmp_path / "1.onnx", Device("cpu", "a test"))
    assert card.exact == (score is None)
    assert card.attention == (score is not None)
    found = check(runner, runner.card, "cpu")
    assert found.bit_for_bit or score is not None
