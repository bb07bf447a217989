"""A row cut anywhere gets the answer of the whole row: in torch, and in ONNX Runtime."""

from functools import cache
from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract import (
    FUTURE,
    LENGTHS,
    NEXT_STATE,
    PREDICTIONS,
    SEQUENCES,
    STATE,
    ModelCard,
    StateKind,
)
from training.errors import ParityError, RecipeError
from training.export import write_model
from training.networks import Forecaster, Scaling, build
from training.networks.attention import SelfAttention
from training.parity import check_parity
from training.recipe import Recipe

LONGEST, HORIZON = 24, 3
WITHIN = {"rtol": 1e-5, "atol": 1e-5}
RINGS = {
    "kind": "attention",
    "causal": True,
    "window": 5,
    "positions": "rotary",
    "readout": "last",
}
FAMILY = [
    {"kind": "gru", "normalisation": "running", "memory": 32},
    {"kind": "gru", "normalisation": "global", "reset": "before", "layers": 1},
    {"kind": "gru", "normalisation": "running", "layer_norm": True, "channels": "independent"},
    {"kind": "lstm", "normalisation": "running"},
    {"kind": "lstm", "normalisation": "global", "layer_norm": True, "layers": 3},
    {"kind": "rnn", "normalisation": "running", "layers": 1},
    RINGS | {"normalisation": "running"},
    RINGS | {"normalisation": "global", "window": 2, "layers": 1},
    RINGS | {"normalisation": "running", "window": 30, "channels": "independent"},
]


def document(**network):
    return {
        "name": "small",
        "horizon": HORIZON,
        "max_length": LONGEST,
        "min_length": 4,
        "data": {
            "source": "none.csv",
            "time": "time",
            "targets": ["a", "b"],
            "features": ["c"],
            "known": ["d"],
            "frequency": "1h",
        },
        "network": {"hidden": 8} | network,
    }


def made(*, missing=True, **network) -> Forecaster:
    recipe = Recipe.model_validate(document(**network))
    torch.manual_seed(3)
    scaling = Scaling(np.array([-5, 30, 0, 2], "f4"), np.array([1, 9, 3, 1], "f4"))
    net = build(recipe, scaling, missing=missing).eval()
    for parameter in net.reader.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return net


def card_of(network, *, missing=True) -> ModelCard:
    return ModelCard(
        name="small",
        features=("a", "b", "c", "d"),
        targets=("a", "b"),
        known=("d",),
        horizon=HORIZON,
        quantiles=tuple(network.levels.tolist()),
        frequency="1h",
        min_length=4,
        max_length=LONGEST,
        missing_values=missing,
    )


def drawn(rng, batch, *, missing=True):
    rows = rng.normal([-5, 30, 0, 2], [1, 9, 3, 1], (batch, LONGEST, 4)).astype("f4")
    if missing:
        rows[rng.random(rows.shape) < 0.3] = np.nan
        rows[0, LONGEST // 3 : LONGEST // 2] = np.nan  # whole pieces are missing
    return rows, rng.normal(2, 1, (batch, HORIZON, 1)).astype("f4")


def cut(rng, batch, pieces):
    """Return the bounds (pieces + 1, batch) of pieces of at least one step each."""
    inner = [np.sort(rng.permutation(LONGEST - 1)[:pieces]) + 1 for _ in range(batch)]
    return np.concatenate([np.zeros((1, batch), int), np.array(inner).T])


def piece(rng, rows, begins, ends):
    """Return the steps between, and anything at all beyond the length."""
    lengths = ends - begins
    time = lengths.max() + int(rng.integers(0, 3))
    found = np.full((len(rows), time, rows.shape[-1]), rng.choice([np.nan, 1e6]), "f4")
    for row, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        found[row, : end - begin] = rows[row, begin:end]
    return found, lengths


def in_torch(network):
    def answer(sequences, lengths, future, state):
        arrays = (torch.from_numpy(each) for each in (sequences, lengths, future))
        given = {name: torch.from_numpy(each) for name, each in state.items()}
        with torch.no_grad():
            predictions, carried = network.resume(*arrays, given)
        return predictions.numpy(), {name: each.numpy() for name, each in carried.items()}

    return answer


def in_onnx(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]

    def answer(sequences, lengths, future, state):
        feeds = {SEQUENCES: sequences, LENGTHS: lengths, FUTURE: future}
        feeds |= {STATE + name: each for name, each in state.items()}
        given = dict(zip(names, session.run(names, feeds), strict=True))
        return given[PREDICTIONS], {name: given[NEXT_STATE + name] for name in state}

    return answer


def zeros(network, batch):
    return {name: np.zeros((batch, *shape), "f4") for name, shape in network.state_shapes.items()}


def check_cuts(answer, network, seed, batch, pieces, *, missing=True):
    """Compare what pieces come to with all at once, which torch says."""
    rng = np.random.default_rng(seed)
    rows, future = drawn(rng, batch, missing=missing)
    bounds, state = cut(rng, batch, pieces), zeros(network, batch)
    for begins, ends in pairwise(bounds):
        found, state = answer(*piece(rng, rows, begins, ends), future, state)
        sequences, lengths = piece(rng, rows, np.zeros_like(ends), ends)
        expected, after = in_torch(network)(sequences, lengths, future, zeros(network, batch))
        np.testing.assert_allclose(found, expected, **WITHIN)
        assert state.keys() == after.keys()
        for name, each in state.items():
            np.testing.assert_allclose(each, after[name], **WITHIN, err_msg=name)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Return what returns a network, its card and its file, which is written once."""

    @cache
    def one(place):
        network = made(**FAMILY[place])
        path = tmp_path_factory.mktemp("models") / "1.onnx"
        return network, write_model(network, card_of(network), path), path

    return one


@pytest.fixture(
    scope="module",
    params=range(len(FAMILY)),
    ids=lambda place: "-".join(map(str, FAMILY[place].values())),
)
def exported(request, export):
    return export(request.param)


seeds = st.integers(0, 999)


@settings(max_examples=20, deadline=None)
@given(
    seed=seeds,
    batch=st.integers(1, 4),
    pieces=st.integers(1, LONGEST - 1),
    chosen=st.sampled_from(FAMILY),
    missing=st.booleans(),
)
def test_any_cut_gives_the_same_answer_and_state_in_torch(seed, batch, pieces, chosen, missing):
    network = made(missing=missing, **chosen)
    check_cuts(in_torch(network), network, seed, batch, pieces, missing=missing)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, batch=st.integers(1, 4), pieces=st.integers(1, LONGEST - 1))
def test_any_cut_gives_the_same_answer_and_state_in_the_file(exported, seed, batch, pieces):
    network, _, path = exported
    check_cuts(in_onnx(path), network, seed, batch, pieces)


def test_the_card_names_the_state_and_the_file_has_it(exported):
    network, card, path = exported
    assert card.state.kind is StateKind.RECURRENT
    assert card.state.tensors == network.state_shapes
    opened = onnxruntime.InferenceSession(path)
    inputs = {each.name: each.shape[1:] for each in opened.get_inputs()}
    outputs = {each.name: each.shape[1:] for each in opened.get_outputs()}
    for name, shape in card.state.tensors.items():
        assert tuple(inputs.pop(STATE + name)) == shape
        assert tuple(outputs.pop(NEXT_STATE + name)) == shape
    assert inputs.keys() == {SEQUENCES, LENGTHS, FUTURE}
    assert outputs.keys() == {PREDICTIONS}
    assert ModelCard.from_metadata(opened.get_modelmeta().custom_metadata_map) == card


def test_neither_padding_nor_neighbours_show_in_any_bit_where_the_card_says_so(exported):
    network, card, path = exported
    assert card.exact is (not isinstance(network.reader, SelfAttention))
    within = {"rtol": 0, "atol": 0} if card.exact else WITHIN
    answer, rng = in_onnx(path), np.random.default_rng(5)
    rows, future = drawn(rng, 17)
    bounds, together = cut(rng, 17, 3), zeros(network, 17)
    alone = [zeros(network, 1) for _ in range(17)]
    for begins, ends in pairwise(bounds):
        found, together = answer(*piece(rng, rows, begins, ends), future, together)
        for row, own in enumerate(alone):
            steps = rows[row : row + 1, begins[row] : ends[row]]
            length, ahead = ends[row : row + 1] - begins[row], future[row : row + 1]
            single, after = answer(steps, length, ahead, own)
            alone[row] = after
            np.testing.assert_allclose(single[0], found[row], **within)
            for name, each in after.items():
                np.testing.assert_allclose(each[0], together[name][row], **within)


def test_forward_is_what_resume_makes_of_zeros(exported):
    network, _, _ = exported
    rng = np.random.default_rng(6)
    rows, future = drawn(rng, 3)
    sequences, lengths = piece(rng, rows, np.zeros(3, int), np.array([LONGEST, 2, 9]))
    with torch.no_grad():
        whole, attention = network(*(torch.from_numpy(e) for e in (sequences, lengths, future)))
    begun, _ = in_torch(network)(sequences, lengths, future, zeros(network, 3))
    assert attention is None
    np.testing.assert_allclose(whole.numpy(), begun, **WITHIN)


@pytest.mark.parametrize(("steps", "place"), [(100_000, 0), (30_000, 6)], ids=["gru", "attention"])
def test_a_great_many_single_steps_in_the_file_do_not_drift(export, steps, place):
    """After so many the answer is that of the last thousands alone, for no more is recalled."""
    network, _, path = export(place)
    answer, rng = in_onnx(path), np.random.default_rng(7)
    future = np.zeros((1, HORIZON, 1), "f4")
    rows = rng.normal([5e3, 30, 0, 2], [1, 9, 3, 1], (1, steps, 4)).astype("f4")
    state, one = zeros(network, 1), np.ones(1, int)
    for step in range(rows.shape[1]):
        found, state = answer(rows[:, step : step + 1], one, future, state)
    again = zeros(network, 1)
    for begin in range(rows.shape[1] - 100 * LONGEST, rows.shape[1], LONGEST):
        expected, again = in_torch(network)(
            rows[:, begin : begin + LONGEST], one * LONGEST, future, again
        )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_the_gate_refuses_a_file_that_forgets(tmp_path):
    network = made(kind="gru", normalisation="global", missing=False)
    card, path = card_of(network, missing=False), tmp_path / "1.onnx"
    write_model(network, card, path)
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "GRU":
            node.input[5] = ""
    onnx.save(model, path)
    with pytest.raises(ParityError, match=r"batch 1, piece 2 of 2"):
        check_parity(network, path, card)


@pytest.mark.parametrize(
    ("network", "obstacle"),
    [
        ({"normalisation": "last"}, 'normalisation = "last" changes every step'),
        ({"kind": "attention"}, "attention keeps all steps"),
        ({"score": "dot"}, "score asks all states"),
        ({"bidirectional": True}, "bidirectional reads from the end"),
        ({"segment": 4}, "segment cuts"),
        ({"linear_steps": 4}, "linear_steps maps"),
    ],
)
def test_a_recipe_that_demands_a_stream_hears_what_prevents_it(network, obstacle):
    with pytest.raises(RecipeError, match=obstacle):
        Recipe.build(document(stream=True, **network), "here")
    net = made(**{"normalisation": "running"} | network)
    assert not net.state_shapes
    with pytest.raises(ValueError, match="whole rows"):
        net.resume(torch.zeros(1, 2, 4), torch.tensor([2]), torch.zeros(1, HORIZON, 1), {})


def test_a_recipe_that_demands_a_stream_gets_running_statistics():
    assert made(stream=True).normaliser.kind == "running"
    assert made(stream=True, normalisation="global").normaliser.kind == "global"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"normalisation": "last", "memory": 9}, "memory is for normalisation running"),
        ({"normalisation": "running", "memory": 1}, "greater than or equal to 2"),
    ],
)
def test_a_memory_that_makes_no_sense_is_refused(network, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.build(document(**network), "here")


def test_a_window_holds_eight_memories_unless_the_recipe_says_otherwise():
    assert made(stream=True).normaliser.moments.memory == LONGEST // 8
    assert made(stream=True, memory=7).normaliser.moments.memory == 7


def test_rows_too_long_for_the_memory_are_refused():
    longer = document(normalisation="running", memory=2) | {"max_length": 801}
    with pytest.raises(RecipeError, match="memory = 2 is too short for 801 steps, take 3"):
        Recipe.build(longer, "here")
