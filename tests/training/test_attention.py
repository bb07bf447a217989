"""Self-attention is its equation, in torch and in ONNX Runtime; nobody sees what they must not."""

from functools import cache

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.contract import ModelCard
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner
from service.engine.selfcheck import check
from training.architecture import NetworkRecipe
from training.export import write_model
from training.networks import Scaling, build
from training.networks.attention_equations import (
    self_attention,
    self_attention_states,
    turn,
    visible,
)
from training.networks.positions import Rotary, rotate
from training.parity import TOLERANCE, check_parity
from training.recipe import Recipe

HIDDEN, LONGEST = 8, 40
rows = st.lists(st.integers(1, LONGEST), min_size=1, max_size=4)
choices = st.fixed_dictionaries(
    {
        "causal": st.booleans(),
        "positions": st.sampled_from(["sinusoidal", "learned", "rotary"]),
        "window": st.sampled_from([None, 1, 2, 3, 7, 64, 70, 200]),
        "heads": st.sampled_from([1, 2, 4]),
        "layers": st.integers(1, 2),
        "readout": st.sampled_from(["all", "window"]),
    }
)


def recipe(**network: object) -> Recipe:
    if network.get("window") is None:
        network["readout"] = "all"
    return Recipe.model_validate(
        {
            "name": "any",
            "horizon": 4,
            "max_length": LONGEST,
            "data": {"source": "none", "time": "ds", "targets": ["y"], "frequency": "1h"},
            "network": {"kind": "attention", "hidden": HIDDEN, **network},
        }
    )


def drawn(asked: Recipe, seed: int = 0):
    """Return a forecaster with weights as large as training makes them."""
    torch.manual_seed(seed)
    one = np.ones(1, np.float32)
    network = build(asked, Scaling(0 * one, one)).eval()
    for parameter in network.reader.parameters():
        nn.init.normal_(parameter, std=0.4)
    return network


def reader(asked: Recipe, seed: int = 0):
    """Return the network of double precision, and its weights by name."""
    network = drawn(asked, seed).reader.double()
    return network, {name: value.numpy() for name, value in network.state_dict().items()}


def inputs(lengths, seed=0, time=None):
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(size=(len(lengths), time or max(lengths), 1)))


@settings(max_examples=60, deadline=None)
@given(choices, rows, st.integers(0, 5), st.integers(0, 2**31))
def test_torch_computes_the_equation_whatever_the_lengths_and_the_padding(
    chosen, lengths, more, seed
):
    asked = recipe(**chosen)
    network, weights = reader(asked, seed)
    sequences = inputs(lengths, seed, max(lengths) + more)
    with torch.no_grad():
        found, shares = network(sequences, torch.tensor(lengths))
    assert shares.shape == sequences.shape[:2]
    for row, length in enumerate(lengths):
        alone = sequences[row, :length].numpy()
        wanted, wanted_shares = self_attention(alone, weights, asked.network)
        np.testing.assert_allclose(found[row], wanted, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(shares[row, :length], wanted_shares, rtol=0, atol=1e-6)
        assert shares[row].sum() == pytest.approx(1)
        assert not shares[row, length:].any()


@settings(max_examples=30, deadline=None)
@given(choices, st.data())
def test_a_step_reaches_the_states_that_may_see_it_and_no_other(chosen, data):
    asked = recipe(**{**chosen, "readout": "all"})
    network, _ = reader(asked)
    time = data.draw(st.integers(1, 150))
    changed = data.draw(st.integers(0, time - 1))
    sequences, lengths = inputs([time]), torch.tensor([time])
    with torch.no_grad():
        before = network.states(sequences, lengths)
        sequences[0, changed] += 3
        after = network.states(sequences, lengths)
    reached = np.linalg.matrix_power(
        visible(time, causal=chosen["causal"], window=chosen["window"]).astype(int),
        chosen["layers"],
    )[:, changed]
    moved = (before != after)[0].any(-1).numpy()
    assert not (moved & (reached == 0)).any()
    assert moved[changed]


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
@pytest.mark.parametrize("causal", [True, False])
def test_with_a_readout_of_the_window_the_answer_is_a_function_of_the_last_steps(positions, causal):
    window, layers, time = 5, 2, 40
    asked = recipe(
        window=window, layers=layers, positions=positions, causal=causal, readout="window"
    )
    network, _ = reader(asked)
    reach = (layers + 1) * (window - 1) + 1
    sequences, lengths = inputs([time]), torch.tensor([time])
    with torch.no_grad():
        wanted, shares = network(sequences, lengths)
        short, _ = network(sequences[:, -reach:], torch.tensor([reach]))
        sequences[:, : time - reach] = 100
        same, _ = network(sequences, lengths)
        sequences[:, time - reach] = 100
        other, _ = network(sequences, lengths)
    assert torch.equal(same, wanted)
    torch.testing.assert_close(short, wanted, rtol=0, atol=1e-7)
    assert not torch.equal(other, wanted)
    assert (shares[0] > 0).nonzero().flatten().tolist() == list(range(time - window, time))


def test_a_product_of_rotary_queries_and_keys_tells_only_their_distance():
    rotary = Rotary(6)
    random = np.random.default_rng(0)
    query, key = random.normal(size=(2, 6))
    steps = np.array([0, 1, 17, 500, 8000])
    wanted = [turn(query, step + 3) @ turn(key, step) for step in steps]
    np.testing.assert_allclose(wanted, wanted[0], atol=1e-9)
    turned = [
        rotate(torch.from_numpy(each).float().expand(8192, 6), rotary(8192)).numpy()
        for each in (query, key)
    ]
    found = (turned[0][steps + 3] * turned[1][steps]).sum(-1)
    np.testing.assert_allclose(found, wanted[0], atol=2e-6)  # float32, also after 8,000 steps


def test_causal_window_and_positions_each_make_another_network():
    answers = []
    sequences, lengths = inputs([30]), torch.tensor([30])
    base = {"heads": 2, "layers": 2}
    for more in (
        {},
        {"causal": True},
        {"window": 4},
        {"window": 4, "causal": True},
        {"window": 4, "readout": "window"},
        {"positions": "learned"},
        {"positions": "rotary"},
    ):
        network, _ = reader(recipe(**base, **more))
        with torch.no_grad():
            answers.append(network(sequences, lengths)[0])
    for number, one in enumerate(answers):
        assert all((one - other).abs().max() > 1e-3 for other in answers[:number])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return what returns a recipe, its network, its card and its file, which is written once."""

    @cache
    def one(**chosen):
        asked = recipe(heads=2, **chosen)
        network = drawn(asked)
        path = tmp_path_factory.mktemp("models") / "1.onnx"
        return asked, network, write_model(network, card_of(asked), path), path

    return one


@pytest.mark.parametrize(
    "chosen",
    [
        {"causal": True, "positions": "learned"},
        {"window": 7, "positions": "sinusoidal", "readout": "window"},
        {"window": 5, "causal": True, "positions": "rotary", "readout": "window"},
        {"window": 70, "causal": True, "positions": "rotary"},
    ],
    ids=lambda chosen: " ".join(f"{key} {value}" for key, value in chosen.items()),
)
def test_the_file_answers_as_the_equation_and_the_service_takes_it(chosen, written):
    asked, network, card, path = written(**chosen)
    assert check_parity(network, path, card) < TOLERANCE / 10
    runner = OnnxRunner(path, Device("cpu", "a test"))
    check(runner, runner.card, "cpu")
    weights = {n: value.double().numpy() for n, value in network.reader.state_dict().items()}
    lengths = (1, LONGEST, 9, 23)
    sequences = [each.float().numpy()[0] for each in (inputs([n], n) for n in lengths)]
    answers = runner.run([Row(each, None, explain=True) for each in sequences])
    for sequence, answer in zip(sequences, answers, strict=True):
        relative = (sequence - sequence[-1]).astype(float)  # as the normalisation has it
        _, shares = self_attention(relative, weights, asked.network)
        np.testing.assert_allclose(answer.attention, shares, rtol=0, atol=1e-5)
        assert answer.attention.sum() == pytest.approx(1, abs=1e-5)


def test_local_attention_holds_no_square_of_the_time(written):
    """Twice the steps, twice the numbers that the graph computes: counted, not timed."""
    full = numbers(written(causal=True, positions="rotary"))
    local = numbers(written(window=5, causal=True, positions="rotary", readout="window"))
    assert local[1] / local[0] < 2.2
    assert full[1] / full[0] > 3


def numbers(found) -> list[int]:
    """Return the elements that all nodes put out, of 256 and of 512 steps."""
    *_, path = found
    return [elements(onnx.load(path), steps) for steps in (256, 512)]


def elements(model, steps) -> int:
    import onnxruntime  # noqa: PLC0415

    names = [name for node in model.graph.node for name in node.output if name]
    outputs = {each.name for each in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in outputs)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {
        "sequences": inputs([steps]).float().numpy(),
        "lengths": np.array([steps]),
    }
    return sum(np.size(each) for each in session.run(names, feeds))


def card_of(asked: Recipe) -> ModelCard:
    return ModelCard(
        name="any", features=("y",), targets=("y",), horizon=4, max_length=LONGEST,
        quantiles=asked.quantiles, frequency="1h",
    )  # fmt: skip


def test_a_mask_of_the_equation_is_what_the_words_say():
    assert visible(4, causal=True, window=2).astype(int).tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [0, 1, 1, 0],
        [0, 0, 1, 1],
    ]
    assert visible(3, window=2).astype(int).tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    assert visible(3).all()


def test_states_of_the_equation_do_not_depend_on_what_comes_later_if_causal():
    asked = NetworkRecipe(kind="attention", hidden=HIDDEN, causal=True, positions="rotary")
    _, weights = reader(recipe(causal=True, positions="rotary"))
    sequence = inputs([9])[0].numpy()
    whole = self_attention_states(sequence, weights, asked)
    part = self_attention_states(sequence[:5], weights, asked)
    np.testing.assert_allclose(whole[:5], part, atol=1e-12)
