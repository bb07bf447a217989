"""ONNX equals torch, for networks of any shape and any rows: the promise, as a property."""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.contract import FUTURE, LENGTHS, PREDICTIONS, SEQUENCES, ModelCard
from training.export import write_model
from training.graph import begin
from training.networks import Scaling, build
from training.parity import TOLERANCE
from training.recipe import Recipe

ULPS = 4  # of float32, at the size of the numbers that cancel


networks = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(
            [
                "gru",
                "gru before",
                "lstm",
                "rnn",
                "gru+dot",
                "lstm+general",
                "rnn+concat",
                "attention",
            ]
        ),
        "hidden": st.sampled_from([4, 8, 20]),
        "heads": st.sampled_from([1, 2, 4]),
        "layers": st.integers(1, 3),
        "normalisation": st.sampled_from(["last", "reversible", "scaled", "global", "running"]),
        "linear_steps": st.sampled_from([0, 5]),
        "channels": st.sampled_from(["joint", "independent"]),
        "segment": st.sampled_from([None, 2, 5]),
        "bidirectional": st.booleans(),
        "layer_norm": st.booleans(),
    }
)
shapes = st.fixed_dictionaries(
    {
        "targets": st.integers(1, 3),
        "features": st.integers(0, 2),
        "known": st.integers(0, 2),
        "missing": st.booleans(),
        "quantiles": st.sampled_from([(0.5,), (0.1, 0.5, 0.9), (0.05, 0.5)]),
        "horizon": st.integers(1, 6),
    }
)


def words_of(kind: str) -> dict[str, str | None]:
    """Return the recipe's words for a kind such as "gru before" or "lstm+dot"."""
    name, _, score = kind.partition("+")
    name, _, reset = name.partition(" ")
    return {"kind": name, "reset": reset or "after", "score": score or None}


def possible(network):
    """Leave out what is for cells where the network is none."""
    if network["kind"] != "attention":
        return network
    return network | {"bidirectional": False, "layer_norm": False}


def prepare(network, shape, seed):
    columns = [f"c{n}" for n in range(shape["targets"] + shape["features"] + shape["known"])]
    targets = columns[: shape["targets"]]
    known = columns[shape["targets"] + shape["features"] :]
    recipe = Recipe.model_validate(
        {
            "name": "any",
            "horizon": shape["horizon"],
            "max_length": 20,
            "quantiles": shape["quantiles"],
            "data": {
                "source": "none",
                "time": "ds",
                "targets": targets,
                "features": columns[shape["targets"] : len(columns) - shape["known"]],
                "known": known,
                "frequency": "1h",
            },
            "network": possible(network | words_of(network["kind"])),
        }
    )
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    mean = random.normal(0, 100, len(columns)).astype("f4")
    scale = (10.0 ** random.uniform(-2, 2, len(columns))).astype("f4")
    built = build(recipe, Scaling(mean, scale), missing=shape["missing"]).eval()
    card = ModelCard(
        name="any",
        features=recipe.data.columns,
        targets=recipe.data.targets,
        known=recipe.data.known,
        horizon=recipe.horizon,
        quantiles=recipe.quantiles,
        frequency="1h",
        max_length=20,
        missing_values=shape["missing"],
    )
    return built, card


def rows(card, network, lengths, random):
    mean, scale = network.normaliser.mean.numpy(), network.normaliser.scale.numpy()
    lengths = np.array(lengths)
    sequences = mean + scale * random.normal(0, 3, (len(lengths), lengths.max(), len(mean)))
    if card.missing_values:
        sequences[random.random(sequences.shape) < 0.2] = np.nan
    sequences[np.arange(lengths.max()) >= lengths[:, None]] = np.nan
    future = random.normal(0, 1, (len(lengths), card.horizon, len(card.known)))
    return sequences.astype("f4"), lengths, future.astype("f4")


def units(network, card, sequences):
    """
    Return (batch, 1, targets, 1): what the network counts each row in.

    That is the target's scale, or the row's own deviation if that is what it divides by: rounding
    is then as much larger as the row is wider.  Beside the network in float64, torch and the file
    are equally far away.
    """
    scale = network.target_scale.numpy()
    if network.normaliser.kind not in ("reversible", "running", "scaled"):
        return scale[:, None]
    row = sequences[:, :, : len(card.targets)]
    count = np.maximum((~np.isnan(row)).sum(axis=1), 1)
    mean = np.nansum(row, axis=1) / count
    deviation = np.sqrt(np.nansum((row - mean[:, None]) ** 2, axis=1) / count)
    return np.maximum(scale, deviation)[:, None, :, None]


@pytest.mark.timeout(600)  # an export takes seconds, and a slow machine twice as many
@settings(max_examples=settings.default.max_examples // 25, deadline=None)
@given(
    networks,
    shapes,
    st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=6), min_size=1, max_size=5),
    st.integers(0, 2**31),
)
@example(
    {"kind": "gru", "hidden": 4, "layers": 1, "normalisation": "running"},
    {"targets": 3, "features": 1, "known": 1, "missing": True, "quantiles": (0.5,), "horizon": 2},
    [[5, 12, 20]],
    1,
)
@example(  # the exporter must not take the number of segments it sees for fixed
    {"kind": "gru+dot", "hidden": 4, "layers": 1, "segment": 5, "bidirectional": True},
    {"targets": 1, "features": 0, "known": 0, "missing": False, "quantiles": (0.5,), "horizon": 2},
    [[5, 12, 20]],
    1,
)
@example(  # rows three times as wide as the scale, and forecasts ten times as far from them
    {
        "kind": "gru",
        "hidden": 8,
        "layers": 2,
        "normalisation": "reversible",
        "bidirectional": True,
        "layer_norm": True,
    },
    {
        "targets": 1,
        "features": 2,
        "known": 2,
        "missing": True,
        "quantiles": (0.1, 0.5, 0.9),
        "horizon": 6,
    },
    [[2, 9, 8, 12, 5], [8, 2, 1, 5, 17, 7], [16, 3, 9, 2], [17], [17]],
    139554558,
)
def test_a_published_file_answers_as_its_network(network, shape, batches, seed):
    built, card = prepare(network, shape, seed)
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1.onnx"
        card = write_model(built, card, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for lengths in batches:
            sequences, lengths_, future = rows(card, built, lengths, random)
            feeds = {SEQUENCES: sequences, LENGTHS: lengths_}
            feeds |= begin(card.state, len(lengths))
            if card.known:
                feeds[FUTURE] = future
            (answer,) = session.run([PREDICTIONS], feeds)
            zeros = np.where(np.arange(sequences.shape[1]) < lengths_[:, None], 1, 0)[..., None]
            clean = np.where(zeros == 1, sequences, 0)  # torch never saw the padding's NaN
            with torch.no_grad():
                expected, _ = built(
                    torch.from_numpy(clean),
                    torch.from_numpy(lengths_),
                    torch.from_numpy(future) if card.known else None,
                )
            unit = units(built, card, sequences)
            mean = built.normaliser.mean.numpy()[: len(card.targets), None]
            size = np.maximum(np.abs(expected.numpy()), np.abs(mean))
            bound = TOLERANCE * unit + ULPS * np.spacing(size)
            assert (np.abs(answer - expected.numpy()) <= bound).all()
