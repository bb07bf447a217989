"""The native API: what a caller sends, and what comes back."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract import ModelCard
from models.repository import Repository
from service.http.schemas.native import PredictResponse
from tests.engine.graphs import Graph, card
from tests.http.inprocess import ATTENTION, GRU, SMALL, Service, running, weeks

MONTHS = [24.8, 26.1, 26.4, 25.6, 24.3, 22.9, 21.9, 20.9, 20.5, 20.9, 21.6, 22.7]


@pytest.fixture(scope="module")
def service(lasting: Service) -> Service:
    return lasting


async def test_each_sequence_is_answered_in_the_order_sent(service: Service):
    sequences = [
        {"id": f"s{length}", "values": weeks(length, start)}
        for length, start in ((104, 330), (26, 350), (77, 310), (26, 360))
    ]
    answer = (await service.predict({"sequences": sequences})).json()
    assert (answer["model"], answer["version"]) == (GRU, 1)
    assert [one["id"] for one in answer["predictions"]] == ["s104", "s26", "s77", "s26"]
    for sequence, prediction in zip(sequences, answer["predictions"], strict=True):
        assert abs(prediction["mean"][0] - sequence["values"][-1]) < 3
        assert len(prediction["mean"]) == 13
        assert list(prediction["quantiles"]) == ["0.1", "0.5", "0.9"]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(26, 104), st.floats(-1e3, 1e3), st.integers(0, 2)),
        min_size=1,
        max_size=9,
    )
)
def test_an_answer_over_http_does_not_depend_on_its_neighbours(rows):
    async def ask():
        async with running() as service:
            sequences = [weeks(length, start) for length, start, _ in rows]
            together = (await service.predict({"sequences": sequences})).json()["predictions"]
            at_once = await asyncio.gather(
                *(service.predict({"sequences": [sequence]}) for sequence in sequences)
            )
            assert [answer.json()["predictions"][0] for answer in at_once] == together

    asyncio.run(ask())


async def test_a_bare_array_and_rows_of_one_feature_mean_the_same(service: Service):
    values = weeks(30)
    body = {"sequences": [values, {"values": values}, [[value] for value in values]]}
    first, *others = (await service.predict(body)).json()["predictions"]
    assert others == [first, first]


async def test_the_levels_asked_for_come_back_in_the_order_asked(service: Service):
    body = {"sequences": [weeks(30)], "quantiles": [0.9, 0.1]}
    prediction = (await service.predict(body)).json()["predictions"][0]
    assert list(prediction["quantiles"]) == ["0.9", "0.1"]
    assert prediction["quantiles"]["0.9"][0] > prediction["quantiles"]["0.1"][0]


async def test_timestamps_go_on_where_the_sequence_ends(service: Service):
    body = {"sequences": [{"values": MONTHS, "start": "2010-01-31T00:00:00+01:00"}]}
    prediction = (await service.predict(body, ATTENTION)).json()["predictions"][0]
    assert prediction["timestamps"][:3] == [
        "2011-01-31T00:00:00+01:00",
        "2011-02-28T00:00:00+01:00",
        "2011-03-31T00:00:00+01:00",
    ]


async def test_attention_is_one_weight_per_step_sent_and_only_on_request(service: Service):
    body = {"sequences": [MONTHS, MONTHS + MONTHS], "explain": ["attention"]}
    predictions = (await service.predict(body, ATTENTION)).json()["predictions"]
    assert [len(one["attention"]) for one in predictions] == [12, 24]
    assert all(sum(one["attention"]) == pytest.approx(1, abs=1e-5) for one in predictions)
    plain = (await service.predict({"sequences": [MONTHS]}, ATTENTION)).json()
    assert "attention" not in plain["predictions"][0]
    refused = await service.predict({"sequences": [weeks(30)], "explain": ["attention"]})
    assert refused.status_code == 422


async def test_a_version_can_be_named(service: Service):
    for path, status in (
        ("versions/1", 200),
        ("versions/2", 404),
        ("versions/x", 404),
        ("versions/99999999999999999999", 404),
    ):
        answer = await service.client.post(
            f"/v1/models/{GRU}/{path}/predict", json={"sequences": [weeks(30)]}
        )
        assert answer.status_code == status, path
    missing = await service.client.get(f"/v1/models/{GRU}/versions/x")
    assert missing.json()["detail"] == (
        f"There is no model '{GRU}' in version x. GET /v1/models lists those there are."
    )
    detail = (await service.client.get(f"/v1/models/{GRU}/versions/1")).json()
    assert detail["version"] == 1


async def test_models_are_listed_with_their_cards_limits_and_self_checks(service: Service):
    listed = (await service.client.get("/v1/models")).json()["models"]
    assert [model["name"] for model in listed] == [
        "co2-gru",
        "co2-lstm",
        "co2-stream-gru",
        "elnino-attention",
    ]
    assert {model["state"] for model in listed} == {"ready"}
    detail = (await service.client.get(f"/v1/models/{GRU}")).json()
    assert detail["loaded"][0]["self_check"]["bit_for_bit"] is True
    assert detail["limits"] == {
        "max_sequences": 64,
        "max_waiting": 64,
        "min_length": 26,
        "max_length": 104,
    }
    card = (await service.client.get(f"/v1/models/{GRU}/card")).json()
    assert card == detail["card"]
    accuracy = ModelCard.model_validate(card).accuracy.targets["co2"]
    assert accuracy.mae < accuracy.baselines["seasonal_naive"].mae


async def test_measured_costs_and_where_batches_run_are_told(tmp_path):
    small = SMALL.model_copy(update={"profile_ms": 20, "cache": tmp_path})
    async with running(small) as service:
        (loaded,) = (await service.client.get(f"/v1/models/{GRU}")).json()["loaded"]
    costs = loaded["costs"]
    assert len(costs["milliseconds"]) == len(costs["sizes"])
    assert len(costs["milliseconds"][0]) == len(costs["steps"]) == len(costs["useful_sizes"])
    assert min(map(min, costs["milliseconds"])) > 0
    assert loaded["slots"] == {"share": 1, "spare": 0, "inline_ms": 10.0}
    assert len(list(tmp_path.glob("costs-*.json"))) == 4  # one for each model


async def test_every_example_of_the_documentation_works_when_pasted(service: Service):
    document = (await service.client.get("/openapi.json")).json()
    body = document["paths"]["/v1/models/{name}/predict"]["post"]["requestBody"]
    examples = body["content"]["application/json"]["examples"]
    assert sorted(examples) == ["co2-gru", "co2-lstm", "co2-stream-gru", "elnino-attention"]
    for name, example in examples.items():
        answer = await service.predict(example["value"], name)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"]) == len(example["value"]["sequences"])


async def test_the_documentation_refers_to_nothing_it_does_not_hold(service: Service):
    document = (await service.client.get("/openapi.json")).json()
    text = (await service.client.get("/openapi.json")).text
    for name in document["components"]["schemas"]:
        assert not name.startswith("_")
    for part in text.split('"$ref":"')[1:]:
        path = part.split('"')[0].removeprefix("#/").split("/")
        place = document
        for key in path:
            place = place[key]


async def test_a_response_is_what_its_schema_says(service: Service):
    body = {"sequences": [{"id": "a", "values": MONTHS, "start": "2010-01-01"}]}
    answer = await service.predict(body | {"explain": ["attention"]}, ATTENTION)
    PredictResponse.model_validate_json(answer.content)


async def test_several_targets_add_an_axis_and_known_covariates_must_come_along(tmp_path):
    several = card(targets=("a", "b"), features=("a", "b", "c", "d"), known=("d",), horizon=3)
    Repository(tmp_path).publish(several.name, Graph(several).write)
    async with running(SMALL.model_copy(update={"models": tmp_path})) as service:
        values, future = [[1, 2, 3, 4], [5, 6, 7, 8]], [[1], [2], [3]]
        sequence = {"values": values, "future": future}
        answer = await service.predict({"sequences": [sequence]}, several.name)
        (prediction,) = answer.json()["predictions"]
        assert [len(step) for step in prediction["mean"]] == [2, 2, 2]
        for level in prediction["quantiles"].values():
            assert [len(step) for step in level] == [2, 2, 2]
        for wrong, says in (
            (None, "expected 3 steps of the known covariates (d), got none"),
            (future[:2], "expected shape (3, 1), got (2, 1)"),
            ([[1], [None], [3]], "sequences[0].future[1]: a missing value"),
        ):
            body = {"sequences": [{"values": values} | ({"future": wrong} if wrong else {})]}
            refused = await service.predict(body, several.name)
            assert refused.status_code == 422
            assert says in refused.json()["detail"]
