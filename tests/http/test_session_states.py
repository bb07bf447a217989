"""A session of a model that carries its state, over HTTP: the zoo's own."""

from itertools import pairwise

import numpy as np
import pytest

from service.sessions.sqlite import SqliteStore
from tests.http.inprocess import SMALL, STREAM, running, weeks


@pytest.fixture
async def service(tmp_path):
    async with running(SMALL, SqliteStore(tmp_path / "sessions.db")) as service:
        yield service


@pytest.mark.parametrize("seed", range(5))
async def test_a_stream_cut_anywhere_is_forecast_as_the_whole_series(service, seed):
    card = (await service.client.get(f"/v1/models/{STREAM}/card")).json()
    assert card["state"]["kind"] == "recurrent"
    longest = card["max_length"]
    series, random = weeks(longest), np.random.default_rng(seed)
    cuts = [0, *np.unique(random.integers(1, longest, 12)).tolist(), longest]
    opened = await service.client.post(f"/v1/models/{STREAM}/sessions", json={})
    session = opened.json()["session"]
    for number, (begin, end) in enumerate(pairwise(cuts), start=1):
        path = f"/v1/sessions/{session}/steps/{number}"
        told = await service.client.post(path, json={"values": series[begin:end]})
        found = told.json()["prediction"]
        if end < card["min_length"]:
            assert found is None
            continue
        whole = await service.predict({"sequences": [series[:end]]}, STREAM)
        (expected,) = whole.json()["predictions"]
        assert found["mean"] == pytest.approx(expected["mean"], rel=1e-5)
        assert found["quantiles"].keys() == expected["quantiles"].keys()
        for level, values in expected["quantiles"].items():
            assert found["quantiles"][level] == pytest.approx(values, rel=1e-5)
