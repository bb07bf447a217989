"""The protocols score simple forecasts as published, so what they say of networks compares."""

import os

import numpy as np
import pytest

from benchmarks import protocols, tables
from benchmarks.figures import PROTOCOLS, RECIPES
from models.seasonal import seasonal_naive
from training.data import read_table
from training.networks import Scaling
from training.recipe import Recipe
from training.windows import split, training_part

needs_data = pytest.mark.skipif(
    "SEQSERVE_DATA" not in os.environ, reason="SEQSERVE_DATA, the folder of the data, is not set"
)


@pytest.fixture
def prepared(monkeypatch, tmp_path):
    monkeypatch.setenv("SEQSERVE_DATA", os.environ["SEQSERVE_DATA"])
    monkeypatch.setenv("SEQSERVE_TABLES", "")  # prepare sets it
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    tables.prepare()


def parts_of(name: str):
    recipe = Recipe.read(RECIPES / f"{name}.toml")
    table = read_table(recipe.data)
    parts = split(table, recipe)
    return recipe, parts, Scaling.learn(training_part(table, parts.borders))


def last_value(batch):
    rows = np.arange(len(batch.lengths))
    last = batch.sequences[rows, batch.lengths - 1][:, None, : batch.actuals.shape[2]]
    return np.broadcast_to(last, batch.actuals.shape)[..., None]


@needs_data
@pytest.mark.parametrize(("recipe", "mse", "mae"), [("etth1-96-gru", 1.294, 0.713)])
def test_repeating_the_last_value_scores_as_published_on_ett(monkeypatch, recipe, mse, mae):
    monkeypatch.setenv("SEQSERVE_DATA", os.environ["SEQSERVE_DATA"])
    plan, parts, scaling = parts_of(recipe)
    assert [len(part) for part in (parts.validation, parts.test)] == [2880 - 95] * 2
    found = protocols.standardised(parts.test, last_value, plan, scaling)
    assert found["mse"] == pytest.approx(mse, abs=5e-4)
    assert found["mae"] == pytest.approx(mae, abs=5e-4)


@needs_data
@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize(("recipe", "mase"), [("m4-hourly-gru", 1.193), ("m4-weekly-gru", 2.777)])
def test_seasonal_naive_scores_as_published_on_m4(recipe, mase):
    plan, parts, scaling = parts_of(recipe)
    last = np.unique(parts.test.first, return_index=True)[1]
    season = plan.seasonality

    def repeat(batch):
        past = batch.sequences[:, :, 0]
        ends = batch.lengths - 1
        naive = [
            seasonal_naive(row[:, None], np.array([end]), np.array([0]), plan.horizon, season)[0]
            for row, end in zip(past, ends, strict=True)
        ]
        return np.stack(naive)[..., None]

    found = protocols.competition(parts.test, repeat, plan, scaling)
    assert found["series"] == len(last)
    assert found["mase"] == pytest.approx(mase, abs=2e-3)


@needs_data
@pytest.mark.usefixtures("prepared")
def test_the_traffic_test_has_the_published_windows():
    _, parts, _ = parts_of("traffic-gru")
    assert len(parts.test) == 4308


def test_every_recipe_of_a_benchmark_has_a_protocol():
    names = [path.stem for path in RECIPES.glob("*.toml")]
    assert len(names) >= 24
    for name in names:
        assert any(name.startswith(begin) for begin in PROTOCOLS)
        assert f'name = "{name}"' in (RECIPES / f"{name}.toml").read_text()
