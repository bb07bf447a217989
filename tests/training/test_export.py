"""What the exported file promises on ONNX Runtime, and what the gate refuses."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from models.contract import ATTENTION, FUTURE, LENGTHS, PREDICTIONS, SEQUENCES, ModelCard
from training.errors import ParityError
from training.export import write_model
from training.networks import build
from training.networks.forecaster import Forecaster
from training.networks.normalise import Scaling
from training.parity import TOLERANCE, check_parity
from training.recipe import Recipe

# kind, normalisation, missing, known, linear_steps: each pair of values occurs
COMBINATIONS = [
    ("gru", "last", False, 0, 0),
    ("gru", "reversible", True, 1, 3),
    ("lstm", "last", True, 1, 0),
    ("lstm", "reversible", False, 0, 3),
    ("attention", "last", True, 0, 3),
    ("attention", "reversible", False, 1, 0),
]


def prepare(
    kind, normalisation="last", *, missing=False, known=0, linear_steps=0, hidden=32
) -> tuple[Forecaster, ModelCard]:
    features = ("c",)
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "horizon": 5,
            "max_length": 24,
            "data": {
                "source": "none.csv",
                "time": "time",
                "targets": ["a", "b"],
                "features": features,
                "known": ["d"][:known],
                "frequency": "1h",
            },
            "network": {
                "kind": kind,
                "hidden": hidden,
                "normalisation": normalisation,
                "linear_steps": linear_steps,
            },
        }
    )
    columns = recipe.data.columns
    scaling = Scaling(
        np.linspace(-5, 50, len(columns), dtype="f4"), np.linspace(1, 9, len(columns), dtype="f4")
    )
    torch.manual_seed(3)
    network = build(recipe, scaling, missing=missing)
    if network.skip is not None:
        torch.nn.init.normal_(network.skip.map.weight, std=0.3)
    card = ModelCard(
        name="small",
        features=columns,
        targets=recipe.data.targets,
        known=recipe.data.known,
        horizon=recipe.horizon,
        quantiles=recipe.quantiles,
        frequency="1h",
        min_length=recipe.lengths[0],
        max_length=recipe.lengths[1],
        missing_values=missing,
    )
    return network, card


@pytest.fixture(scope="module", params=COMBINATIONS, ids=lambda each: "-".join(map(str, each)))
def published(request, tmp_path_factory):
    kind, normalisation, missing, known, steps = request.param
    network, card = prepare(kind, normalisation, missing=missing, known=known, linear_steps=steps)
    path = tmp_path_factory.mktemp("models") / "1.onnx"
    return network, write_model(network, card, path), path


def session(path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def draw(card: ModelCard, batch: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    lengths = rng.integers(1, card.max_length + 1, batch)
    sequences = rng.normal(5, 9, (batch, lengths.max(), len(card.features))).astype("f4")
    if card.missing_values:
        sequences[rng.random(sequences.shape) < 0.2] = np.nan
    sequences[np.arange(sequences.shape[1]) >= lengths[:, None]] = np.nan
    feeds = {SEQUENCES: sequences, LENGTHS: lengths}
    if card.known:
        feeds[FUTURE] = rng.normal(50, 9, (batch, card.horizon, len(card.known))).astype("f4")
    return feeds


def test_every_kind_of_network_passes_the_gate_with_room_to_spare(published):
    network, card, path = published
    assert check_parity(network, path, card, tolerance=1e-5) < 5e-6


def test_the_file_has_the_names_of_the_contract_and_its_card(published):
    _, card, path = published
    opened = session(path)
    expected = {SEQUENCES, LENGTHS} | ({FUTURE} if card.known else set())
    assert {each.name for each in opened.get_inputs()} == expected
    outputs = [PREDICTIONS, ATTENTION] if card.attention else [PREDICTIONS]
    assert [each.name for each in opened.get_outputs()] == outputs
    metadata = opened.get_modelmeta().custom_metadata_map
    assert list(metadata) == list(card.to_metadata())
    assert ModelCard.from_metadata(metadata) == card
    assert card.exact is not card.attention


def test_a_row_gets_the_same_answer_in_any_batch(published):
    _, card, path = published
    opened, rng = session(path), np.random.default_rng(4)
    for batch in (2, 3, 8, 17, 33):
        feeds = draw(card, batch, rng)
        together = opened.run([PREDICTIONS], feeds)[0]
        for row, length in enumerate(feeds[LENGTHS]):
            alone = {name: array[row : row + 1] for name, array in feeds.items()}
            alone[SEQUENCES] = alone[SEQUENCES][:, :length]
            answer = opened.run([PREDICTIONS], alone)[0][0]
            if card.exact:
                assert np.array_equal(answer, together[row])
            else:
                np.testing.assert_allclose(answer, together[row], rtol=1e-6, atol=2e-5)


def test_the_file_is_small_and_tells_nothing_of_this_machine(published):
    _, _, path = published
    content = path.read_bytes()
    assert len(content) < 300_000
    for trace in (b"/work", b"/root", b"/home", b"site-packages", b"stack_trace", b".py"):
        assert trace not in content


def test_the_gate_refuses_a_gru_that_resets_before_the_product(tmp_path):
    network, card = prepare("gru")
    path = tmp_path / "1.onnx"
    write_model(network, card, path)
    model = onnx.load(path)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "linear_before_reset":
                attribute.i = 0
    onnx.save(model, path)
    with pytest.raises(ParityError, match=r"differ by \d\.\d\de-0\d .* batch 1, time") as caught:
        check_parity(network, path, card)
    assert caught.value.difference > TOLERANCE


def test_the_gate_refuses_a_file_that_ignores_lengths(tmp_path):
    network, card = prepare("lstm")
    path = tmp_path / "1.onnx"
    write_model(network, card, path)
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "LSTM":
            node.input[4] = ""
    onnx.save(model, path)
    with pytest.raises(ParityError, match="batch 3"):
        check_parity(network, path, card)


def test_the_gate_refuses_an_answer_that_is_nan(tmp_path):
    network, card = prepare("gru", hidden=4)
    path = tmp_path / "1.onnx"
    write_model(network, card, path)
    torch.nn.init.constant_(network.head.out.bias, torch.nan)
    with pytest.raises(ParityError, match="differ by inf"):
        check_parity(network, path, card)


def test_export_leaves_the_network_as_it_was(tmp_path):
    network, card = prepare("gru", hidden=4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    write_model(network.train(), card, tmp_path / "1.onnx")
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
