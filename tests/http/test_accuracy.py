"""The accuracy a card states is the accuracy a caller gets."""

import numpy as np
import pytest

from models.contract import ModelCard
from service.settings import ZOO
from tests.http.inprocess import Service
from training.data import read_table
from training.recipe import Recipe
from training.windows import split

RECIPES = ZOO.parent.parent / "training/recipes"


@pytest.mark.parametrize("name", ["co2-gru", "co2-lstm", "co2-stream-gru", "elnino-attention"])
async def test_the_error_on_the_card_is_the_error_over_http(service: Service, name):
    recipe = Recipe.read(RECIPES / f"{name}.toml")
    held_out = split(read_table(recipe.data), recipe).test
    rows = np.arange(len(held_out))
    batch = held_out.batch(rows, held_out.available(rows))
    sequences = [
        [None if np.isnan(value) else float(value) for value in sequence[:length, 0]]
        for sequence, length in zip(batch.sequences, batch.lengths, strict=True)
    ]
    medians = []
    for start in range(0, len(sequences), 64):
        body = {"sequences": sequences[start : start + 64], "quantiles": [0.5]}
        answer = (await service.predict(body, name)).json()
        medians += [prediction["quantiles"]["0.5"] for prediction in answer["predictions"]]
    errors = np.abs(np.array(medians) - batch.actuals[:, :, 0])
    card = ModelCard.model_validate((await service.client.get(f"/v1/models/{name}/card")).json())
    (found,) = card.accuracy.targets.values()
    assert card.accuracy.windows == len(rows)
    assert np.nanmean(errors) == pytest.approx(found.mae, rel=1e-4)
