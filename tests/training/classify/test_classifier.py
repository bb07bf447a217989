"""What the graph of a classifier promises: probabilities, no neighbours, ONNX equal to torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract import ModelCard, Task
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner
from service.engine.selfcheck import check
from tests.labelled import plan
from training.classify.calibration import softmax
from training.errors import ParityError
from training.export import write_model
from training.networks import Scaling, build_classifier
from training.parity import TOLERANCE, check_parity

MEAN, SCALE = np.array([20, -5], "f4"), np.array([3, 2], "f4")


def prepare(kind="gru", classes=3, *, missing=False, temperature=0.7, hidden=20, **network):
    torch.manual_seed(classes)
    chosen = plan({"kind": kind, "hidden": hidden, "layers": 1} | network)
    built = build_classifier(
        chosen, Scaling(MEAN, SCALE), classes, longest=40, missing=missing
    ).eval()
    with torch.no_grad():
        built.head.out.weight *= 8  # as sure as a trained one
    built.head.calibrate(temperature)
    card = ModelCard(
        name="kinds",
        task=Task.CLASSIFY,
        features=("level", "other"),
        classes=tuple(f"c{number:02}" for number in range(classes)),
        max_length=24,
        missing_values=missing,
    )
    return built, card


def rows(count, *, missing=False, seed=0) -> list[Row]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        values = rng.normal(MEAN, SCALE, (int(rng.integers(1, 25)), 2)).astype("f4")
        if missing:
            values[rng.random(values.shape) < 0.2] = np.nan
        found.append(Row(values))
    return found


@pytest.mark.parametrize(
    ("kind", "classes", "missing"),
    [
        ("gru", 2, False),
        ("lstm", 7, False),
        ("rnn", 33, False),
        ("gru", 33, True),
        ("lstm", 2, True),
        ("rnn", 7, True),
    ],
)
def test_a_row_gets_the_same_bits_in_any_batch(tmp_path, kind, classes, missing):
    network, card = prepare(kind, classes, missing=missing)
    path = tmp_path / "1.onnx"
    card = write_model(network, card, path)
    runner = OnnxRunner(path, Device("cpu", "a test"))
    assert check(runner, card, "cpu").bit_for_bit
    asked = rows(24, missing=missing)
    alone = [runner.run([row])[0].predictions for row in asked]
    for size in (2, 3, 8, 17, 24):
        for start in range(0, 24, size):
            answers = runner.run(asked[start : start + size])
            for answer, single in zip(answers, alone[start : start + size], strict=True):
                assert np.array_equal(answer.predictions, single)


@settings(max_examples=settings.default.max_examples // 20, deadline=None)
@given(
    kind=st.sampled_from(["gru", "lstm", "rnn", "attention", "gru+dot", "lstm+concat"]),
    segment=st.sampled_from([None, 3]),
    both=st.booleans(),
    classes=st.integers(2, 12),
    missing=st.booleans(),
    temperature=st.sampled_from([0.2, 1.0, 6.0]),
)
def test_onnx_equals_torch_and_answers_are_probabilities(  # noqa: PLR0917
    tmp_path_factory, kind, segment, both, classes, missing, temperature
):
    name, _, score = kind.partition("+")
    more = {"score": score or None, "segment": segment}
    if name != "attention":
        more |= {"bidirectional": both, "layer_norm": both}
    network, card = prepare(name, classes, missing=missing, temperature=temperature, **more)
    path = tmp_path_factory.mktemp("graph") / "1.onnx"
    card = write_model(network, card, path)  # passes the gate, or raises
    assert card.attention is network.attends
    assert card.exact is not network.attends
    for answer in OnnxRunner(path, Device("cpu", "a test")).run(rows(9, missing=missing)):
        assert answer.predictions.shape == (classes,)
        assert (answer.predictions >= 0).all()
        assert answer.predictions.sum() == pytest.approx(1, abs=1e-6)


def test_a_file_that_differs_from_its_network_is_not_published(tmp_path):
    network, card = prepare()
    path = tmp_path / "1.onnx"
    write_model(network, card, path)
    network.head.calibrate(0.7 * (1 + 100 * TOLERANCE))
    with pytest.raises(ParityError):
        check_parity(network, path, card)


@pytest.mark.parametrize("kind", ["gru", "attention"])
@pytest.mark.parametrize("segment", [None, 4])
@pytest.mark.parametrize("missing", [False, True])
def test_what_lies_behind_a_row_never_shows(kind, segment, missing):
    network, _ = prepare(kind, missing=missing, segment=segment)
    values = torch.from_numpy(rows(1, seed=3)[0].sequence)[None]
    length = torch.tensor([values.shape[1]])
    with torch.no_grad():
        alone, _ = network(values, length)
        for garbage in (0.0, 1e6, float("nan")):
            padded = torch.cat([values, torch.full((1, 9, 2), garbage)], dim=1)
            assert torch.allclose(network(padded, length)[0], alone, atol=1e-6)


@pytest.mark.parametrize("score", [None, "dot"])
def test_segments_answer_with_the_attention_of_each_step(score):
    kind = "attention" if score is None else "gru"
    network, _ = prepare(kind, segment=4, score=score)
    with torch.no_grad():
        _, weights = network(torch.randn(2, 9, 2), torch.tensor([9, 5]))
    assert weights.shape == (2, 9)
    assert weights.sum(1).numpy() == pytest.approx(1, abs=1e-5)
    assert not weights[1, 5:].any()


def test_the_temperature_is_in_the_answer_and_changes_no_order():
    network, _ = prepare(temperature=3.0)
    sequences, lengths = torch.randn(5, 9, 2) * 3 + 20, torch.full((5,), 9)
    with torch.no_grad():
        logits, _ = network.logits(sequences, lengths)
        probabilities, _ = network(sequences, lengths)
    assert probabilities.numpy() == pytest.approx(softmax(logits.double().numpy() / 3), abs=1e-6)
    assert (probabilities.argmax(1) == logits.argmax(1)).all()


def test_the_loss_is_the_cross_entropy_and_weights_let_a_rare_class_count():
    weights = torch.tensor([1.0, 9.0])
    torch.manual_seed(0)
    plain, rare = (
        build_classifier(plan({"hidden": 4}), Scaling(MEAN, SCALE), 2, longest=40, weights=each)
        for each in (None, weights)
    )
    rare.load_state_dict(plain.state_dict())
    rare.eval()
    plain.eval()
    sequences, lengths = torch.randn(6, 5, 2) + 20, torch.full((6,), 5)
    labels = torch.tensor([0, 0, 0, 0, 0, 1])
    logits = plain.logits(sequences, lengths)[0].detach().double().numpy()
    losses = -np.log(softmax(logits)[np.arange(6), labels.numpy()])
    wanted = np.array([1, 1, 1, 1, 1, 9]) / 14 @ losses
    for network, expected in ((plain, losses.mean()), (rare, wanted)):
        found = network.loss(sequences, lengths, labels).item()
        assert found == pytest.approx(expected, rel=1e-5)
