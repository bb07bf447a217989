"""A network that loses to what costs nothing is published only on purpose, and its card says so."""

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from models.contract import ModelCard
from service.cli import main
from tests.training.tables import parts, recipe
from training.errors import Outperformed
from training.guard import guarded

LEVELS = 3
PLAN = "--time ds --target y --freq 1h --horizon 4 --epochs 1 --window 24 --quiet"


def daily(steps=400) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.1, steps)
    return np.sin(np.arange(steps) / 24 * 2 * np.pi) + noise


def off_by(error):
    """Return a forecaster that is wrong by so much, everywhere."""

    def forecast(batch) -> np.ndarray:
        return np.repeat(batch.actuals[..., None] + np.float32(error), LEVELS, axis=-1)

    return forecast


CHOSEN = recipe(season=24, window=24)


def test_a_network_better_than_both_passes_and_its_card_has_both_errors():
    said = []
    found = guarded(CHOSEN, parts(daily(), CHOSEN), off_by(0.01), say=said.append)
    assert set(found.targets["a"].baselines) == {"seasonal_naive", "ridge"}
    assert found.loses_to == ()
    assert said == []


def test_a_network_that_loses_to_ridge_alone_is_refused_by_how_much():
    cut = parts(daily(), CHOSEN)
    errors = guarded(CHOSEN, cut, off_by(0.01)).targets["a"].baselines
    between = (errors["ridge"].mae + errors["seasonal_naive"].mae) / 2
    assert errors["ridge"].mae < between
    with pytest.raises(Outperformed, match=r"times that of ridge; .*") as raised:
        guarded(CHOSEN, cut, off_by(between))
    assert raised.value.ratios == {"ridge": pytest.approx(between / errors["ridge"].mae, rel=1e-4)}
    assert "seasonal naive" not in str(raised.value)


def test_a_network_that_loses_to_both_is_told_of_both_and_published_on_purpose():
    cut = parts(daily(), CHOSEN)
    with pytest.raises(Outperformed, match=r"times that of seasonal naive and .* of ridge"):
        guarded(CHOSEN, cut, off_by(9))
    said = []
    found = guarded(CHOSEN, cut, off_by(9), anyway=True, say=said.append)
    assert found.loses_to == ("seasonal_naive", "ridge")
    assert [line.split(",")[0] for line in said] == [
        "it loses to seasonal naive",
        "it loses to ridge",
    ]


def test_targets_count_alike_whatever_their_units():
    chosen = recipe(targets=("a", "b"), season=24, window=24)
    cut = parts(np.stack([daily(), 1e6 * daily()], axis=1), chosen)

    def forecast(batch) -> np.ndarray:
        wrong = batch.actuals + np.array([9, 0], "f4")  # hopeless at the small one alone
        return np.repeat(wrong[..., None], LEVELS, axis=-1)

    with pytest.raises(Outperformed):
        guarded(chosen, cut, forecast)


def test_where_ridge_has_nothing_to_learn_from_it_is_said_and_naive_remains():
    values = daily()
    values[3::4] = np.nan  # every horizon of four has a gap
    said = []
    found = guarded(CHOSEN, parts(values, CHOSEN), off_by_known, say=said.append)
    assert set(found.targets["a"].baselines) == {"seasonal_naive"}
    assert said == ["not held against ridge: too few windows have all their actuals"]


def off_by_known(batch) -> np.ndarray:
    return np.repeat(np.nan_to_num(batch.actuals)[..., None], LEVELS, axis=-1)


def test_the_command_publishes_nothing_that_loses_unless_told_to(tmp_path):
    time = np.datetime64("2024-01-01T00") + np.arange(400)
    rows = [f"{moment}:00,{value}" for moment, value in zip(time, daily(), strict=True)]
    data = tmp_path / "t.csv"
    data.write_text("\n".join(["ds,y", *rows, ""]))
    folders = ["--models", str(tmp_path / "models"), "--checkpoints", str(tmp_path / "kept")]
    arguments = ["train", "--data", str(data), *PLAN.split(), *folders]
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 1
    assert "Error: t-gru: on held-out data its error is " in refused.stderr
    assert not list(tmp_path.rglob("*.onnx"))
    passed = CliRunner().invoke(main, [*arguments, "--anyway"])
    assert passed.exit_code == 0, passed.output
    assert "it loses to ridge" in passed.stdout
    session = onnxruntime.InferenceSession(tmp_path / "models" / "t-gru" / "1.onnx")
    card = ModelCard.from_metadata(session.get_modelmeta().custom_metadata_map)
    assert "ridge" in card.accuracy.loses_to
    assert card.accuracy.targets["y"].baselines["ridge"].mae < card.accuracy.targets["y"].mae
