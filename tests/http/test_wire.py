"""Fields that are not there: each is named, with the one that was probably meant."""

import json

import pytest

from service.http.schemas.large import MOST_KEYS
from service.http.schemas.wire import unknown
from tests.http.inprocess import ATTENTION, GRU, weeks

GOOD = weeks(26)
SERIES = {"type": "univariate_time_series", "name": "A", "series": GOOD, "frequency": "week"}
TENSOR = {"name": "sequences", "shape": [1, 26, 1], "datatype": "FP32", "data": GOOD}


@pytest.mark.parametrize(
    ("path", "body", "place", "meant"),
    [
        (f"/v1/models/{GRU}/predict", {"sequence": [GOOD]}, "sequence", "sequences"),
        (
            f"/v1/models/{GRU}/predict",
            {"sequences": [{"value": GOOD}]},
            "sequences[0].value",
            "values",
        ),
        (
            f"/v1/models/{GRU}/predict",
            {"sequences": [GOOD], "colour": 1},
            "colour",
            "explain or quantiles or sequences",
        ),
        (f"/v1/models/{GRU}/backtest", {"serie": [GOOD]}, "serie", "series"),
        (f"/v2/models/{GRU}/infer", {"input": [TENSOR]}, "input", "inputs"),
        (
            f"/v2/models/{GRU}/infer",
            {"inputs": [{"nam" if key == "name" else key: TENSOR[key] for key in TENSOR}]},
            "inputs[0].nam",
            "name",
        ),
        (
            "/v1/timeseries/forecast",
            {"model": GRU, "inputs": [SERIES], "options": {"horizn": 13}},
            "options.horizn",
            "horizon",
        ),
        (f"/v2/repository/models/{ATTENTION}/load", {"parameter": {}}, "parameter", "parameters"),
        (
            f"/v2/repository/models/{ATTENTION}/load",
            {"parameters": {"verion": 1}},
            "parameters.verion",
            "version",
        ),
        (f"/v1/admin/models/{ATTENTION}/rollback", {"versions": 1}, "versions", "version"),
    ],
)
async def test_an_unknown_field_is_named_with_the_one_that_was_meant(
    service, path, body, place, meant
):
    answer = await service.client.post(path, json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"] == f"{place}: unknown field; expected {meant}"


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        (f"/v1/models/{GRU}/predict", {}, "the body"),
        ("/v1/timeseries/forecast", {"model": GRU, "inputs": [SERIES]}, "options"),
        (f"/v1/admin/models/{ATTENTION}/split", {}, "weights"),
    ],
)
async def test_an_object_of_many_keys_is_refused_before_each_is_a_fault(service, path, body, place):
    many = {str(number): 1 for number in range(MOST_KEYS + 1)}
    whole = many if place == "the body" else body | {place: many}
    answer = await service.client.request("PUT" if "admin" in path else "POST", path, json=whole)
    assert answer.status_code == 422
    assert answer.json()["detail"] == f"{place}: expected at most {MOST_KEYS} keys"


async def test_an_unknown_field_of_a_state_is_named(service):
    body = json.dumps({"schema_version": 1, "alias": {}})
    answer = await service.client.put(
        f"/v1/admin/models/{ATTENTION}", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"] == "alias: unknown field; expected aliases"


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("shadow", {"version": "No Alias"}, "version: String should match pattern '^[a-z]"),
        ("shadow", {"version": 0}, "version: Input should be greater than or equal to 1"),
        ("shadow", {"version": None}, "version: Input should be a valid integer"),
        ("split", {"weights": {"No Alias": 1}}, "weights.No Alias: String should match pattern"),
    ],
)
async def test_a_place_has_no_words_but_the_callers(service, path, body, says):
    answer = await service.client.put(f"/v1/admin/models/{ATTENTION}/{path}", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(says)


def test_a_field_of_a_million_letters_is_compared_by_its_first():
    assert unknown("sequences" * 10**6, ["sequences"]).endswith("expected sequences")
