"""KServe's time-series forecasts: the native answer in KServe's words, and what is refused."""

import contextlib
import copy
import json

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from models.repository import Repository
from service.engine.admission import check_rows
from service.engine.errors import InvalidSequence
from service.engine.jobs import Answer
from service.http.errors import InvalidRequest, MalformedRequest
from service.http.request.reading import LARGE
from service.http.schemas.forecast import ForecastQuery, read_envelope
from service.http.schemas.timeseries import ForecastRequest, ForecastResponse
from tests.engine.graphs import Graph, card
from tests.http.inprocess import ATTENTION, GRU, SMALL, Service, running, weeks
from tests.http.weighing import CARDS, HORIZON, Weighing, load

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/timeseries/forecast"
START = "2026-01-04T00:00:00Z"
SEVERAL = card(
    name="several",
    targets=("a", "b"),
    features=("a", "b", "c", "d"),
    known=("d",),
    horizon=3,
    max_length=40,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service():
    async with running() as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def covariates(tmp_path_factory):
    """Models with covariates of every kind, and one of several targets."""
    folder = tmp_path_factory.mktemp("models")
    for each in CARDS:
        Repository(folder).publish(each.name, Weighing(each).write)
    Repository(folder).publish(SEVERAL.name, Graph(SEVERAL).write)
    async with running(SMALL.model_copy(update={"models": folder})) as service:
        yield service


def series(values, name="A", frequency="week", **more) -> dict:
    kind = "multivariate" if isinstance(values[0], list) else "univariate"
    return {
        "type": f"{kind}_time_series",
        "name": name,
        "series": values,
        "frequency": frequency,
    } | more


def asked(*inputs, model=GRU, horizon=13, **options) -> dict:
    return {"model": model, "inputs": list(inputs), "options": {"horizon": horizon} | options}


async def forecast(service: Service, body) -> dict:
    answer = await service.client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert ForecastResponse.model_validate(found)
    return found


async def native(service: Service, model, *sequences) -> list[dict]:
    answer = await service.predict({"sequences": list(sequences)}, model)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


async def test_every_forecast_is_the_native_one_bit_for_bit(service: Service):
    lengths = 30, 26, 104
    inputs = [
        series(weeks(length), f"S{length}", start_timestamp=START, frequency=word)
        for length, word in zip(lengths, ("week", "W", "7D"), strict=True)
    ]
    found = await forecast(service, asked(*inputs, quantiles=[0.9, 0.5]))
    expected = await native(
        service, GRU, *({"values": weeks(length), "start": START} for length in lengths)
    )
    assert (found["status"], found["error"]) == ("completed", None)
    assert (found["model"], found["model_version"]) == (GRU, "1")
    assert found["usage"] == {"prompt_tokens": 160, "completion_tokens": 39, "total_tokens": 199}
    assert len({output["id"] for output in found["outputs"]} | {found["id"]}) == 4
    for output, item, one in zip(found["outputs"], inputs, expected, strict=True):
        assert (output["type"], output["status"]) == ("time_series_forecast", "completed")
        assert output["content"] == [
            {
                "type": "univariate_time_series",
                "name": item["name"],
                "mean_forecast": one["mean"],
                "frequency": item["frequency"],
                "start_timestamp": one["timestamps"][0],
                "quantiles": {level: one["quantiles"][level] for level in ("0.9", "0.5")},
            }
        ]


async def test_a_shorter_horizon_is_the_beginning_of_the_whole_one(service: Service):
    whole = await forecast(service, asked(series(weeks(30)), quantiles=[0.1]))
    short = await forecast(service, asked(series(weeks(30)), horizon=4, quantiles=[0.1]))
    ((longer,), (shorter,)) = (each["outputs"][0]["content"] for each in (whole, short))
    assert shorter["mean_forecast"] == longer["mean_forecast"][:4]
    assert shorter["quantiles"]["0.1"] == longer["quantiles"]["0.1"][:4]
    assert short["usage"]["completion_tokens"] == 4


async def test_nothing_is_said_of_quantiles_and_times_that_nobody_asked_for(service: Service):
    body = asked(series(weeks(30))) | {"metadata": {"anything": ["of", {"the": "caller"}]}}
    ((content,),) = (each["content"] for each in (await forecast(service, body))["outputs"])
    assert content["quantiles"] is None
    assert content["start_timestamp"] is None


async def test_missing_values_are_null(service: Service):
    values = weeks(30)
    values[3] = values[-1] = None
    found = await forecast(service, asked(series(values)))
    (one,) = await native(service, GRU, values)
    assert found["outputs"][0]["content"][0]["mean_forecast"] == one["mean"]


@pytest.mark.parametrize("name", [each.name for each in CARDS])
async def test_covariates_of_every_kind_count_as_they_do_natively(covariates: Service, name):
    (found_card,) = [each for each in CARDS if each.name == name]
    generator = np.random.default_rng(5)
    sent, meant = [], []
    for length in (9, 30, 17):
        values = np.hstack([load(length), generator.random((length, 2))])[
            :, : len(found_card.given)
        ]
        more = {}
        if found_card.given_known:
            more["future"] = generator.random((HORIZON, 1)).tolist()
        if found_card.static:
            more["static"] = {"size": length, "region": "north"}
        start = f"2026-03-{length:02}T05:00:00+02:00"
        numbers = values.tolist() if values.shape[1] > 1 else values[:, 0].tolist()
        word = "month" if name == "months" else "60 minutes"
        sent.append(series(numbers, frequency=word, start_timestamp=start, **more))
        meant.append({"values": numbers, "start": start} | more)
    body = asked(*sent, model=name, horizon=HORIZON, quantiles=[0.1, 0.9])
    found = await forecast(covariates, body)
    for output, one in zip(found["outputs"], await native(covariates, name, *meant), strict=True):
        (content,) = output["content"]
        assert content["mean_forecast"] == one["mean"]
        assert content["quantiles"] == {level: one["quantiles"][level] for level in ("0.1", "0.9")}
        assert content["start_timestamp"] == one["timestamps"][0]


async def test_several_targets_are_a_multivariate_forecast(covariates: Service):
    values = [[float(step), 2.0 * step, 1.0, 0.5] for step in range(9)]
    future = [0.1, 0.2, 0.3]
    item = series(values, frequency=SEVERAL.frequency, future=future)
    found = await forecast(covariates, asked(item, model="several", horizon=2, quantiles=[0.5]))
    ((content,),) = (output["content"] for output in found["outputs"])
    (one,) = await native(covariates, "several", {"values": values, "future": future})
    assert content["type"] == "multivariate_time_series"
    assert content["mean_forecast"] == one["mean"][:2]
    assert content["quantiles"] == {"0.5": one["quantiles"]["0.5"][:2]}
    assert np.shape(content["mean_forecast"]) == (2, 2)


GOOD = series(weeks(30), "good")
BAD = [
    (series(weeks(25)), "series", "expected 26 to 104 steps, got 25"),
    (series(weeks(105)), "series", "expected 26 to 104 steps, got 105"),
    (series([[value] * 2 for value in weeks(30)]), "series", "expected 1 features a step"),
    (GOOD | {"series": []}, "series", "at least one step"),
    (GOOD | {"series": 7}, "series", "expected an array, got a number"),
    (GOOD | {"series": [*weeks(29), "7"]}, "series[29]", "expected a number or null, got a string"),
    (GOOD | {"series": [*weeks(29), True]}, "series[29]", "got a boolean"),
    (GOOD | {"series": [*weeks(29), [7]]}, "series[29]", "expected a number or null, got an array"),
    (GOOD | {"series": [*weeks(29), 1e39]}, "series[29]", "out of the range of float32"),
    (series([[1.0], [2.0, 3.0]]), "series[1]", "expected 1 features as in the first step, got 2"),
    (GOOD | {"series": [None] * 30}, "series", "every value is missing"),
    (GOOD | {"type": "multivariate_time_series"}, "series", "expected an array for each step"),
    (series([[v] for v in weeks(30)]) | {"type": GOOD["type"]}, "series", "expected numbers"),
    (GOOD | {"frequency": "fortnight"}, "frequency", "expected a word such as hour"),
    (GOOD | {"frequency": "minute"}, "frequency", "this model's steps are 1w, not 1min"),
    (GOOD | {"frequency": "2 weeks"}, "frequency", "this model's steps are 1w, not 2w"),
    (GOOD | {"frequency": "M"}, "frequency", "not 1mo"),
    (GOOD | {"start_timestamp": "soon"}, "start_timestamp", "expected an ISO 8601 time"),
    (GOOD | {"start_timestamp": "9999-12-01"}, "start_timestamp", "leave the calendar"),
    (GOOD | {"future": [1.0]}, "future", "knows no covariates ahead"),
    (GOOD | {"static": {"size": 1}}, "static", "no static covariates"),
]


@pytest.mark.parametrize(("item", "place", "says"), BAD, ids=range(len(BAD)))
async def test_an_input_the_model_cannot_take_has_an_error_and_the_others_their_forecasts(
    service: Service, item, place, says
):
    alone = await service.client.post(PATH, json=asked(item))
    assert alone.status_code == 422
    assert alone.json()["detail"].startswith(f"inputs[0].{place}")
    assert says in alone.json()["detail"]
    other = series(weeks(40), "other")
    found = await forecast(service, asked(GOOD, item, other))
    good, bad, last = found["outputs"]
    assert found["status"] == "partial"
    assert (bad["status"], bad["content"]) == ("error", [])
    assert bad["error"]["code"] == "422"
    assert bad["error"]["param"].startswith(f"inputs[1].{place}")
    assert says in bad["error"]["message"]
    assert bad["error"]["type"] in alone.json()["type"]
    for output, values in ((good, weeks(30)), (last, weeks(40))):
        (one,) = await native(service, GRU, values)
        assert output["content"][0]["mean_forecast"] == one["mean"]
    assert found["usage"]["prompt_tokens"] == 70


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ([], 422, "the body: expected an object"),
        ({}, 422, "model: Field required"),
        (asked(GOOD) | {"more": 1}, 422, "more: unknown field; expected inputs or metadata or"),
        (asked(GOOD, horizon=14), 422, "options.horizon: expected at most 13 steps, got 14"),
        (asked(GOOD, horizon=0), 422, "options.horizon"),
        (asked(GOOD, horizon=1.5), 422, "options.horizon"),
        (asked(GOOD, horizon=True), 422, "options.horizon"),
        (asked(GOOD, temperature=1), 422, "options.temperature"),
        (asked(GOOD, quantiles=[0.5, 0.2]), 422, "options.quantiles[1]: this model forecasts"),
        (asked(GOOD, quantiles=[0.5, 0.5]), 422, "options.quantiles: a level is asked for twice"),
        (asked(), 422, "inputs: expected 1 to 64 inputs, got 0"),
        (asked(*[GOOD] * 65), 422, "inputs: expected 1 to 64 inputs, got 65"),
        (asked(GOOD, 7), 422, "inputs[1]: expected an object"),
        (asked(GOOD, GOOD | {"type": "panel"}), 422, "inputs[1].type"),
        (asked(GOOD, GOOD | {"weather": 1}), 422, "inputs[1].weather: unknown field"),
        (asked(GOOD, GOOD | {"name": "x" * 257}), 422, "inputs[1].name"),
        (asked(GOOD, {"name": "A"}), 422, "inputs[1].type: Field required"),
        (asked(GOOD, model="unknown"), 404, "There is no model 'unknown'."),
        (asked(GOOD, model="../" * 90), 404, "There is no model"),
        (asked(GOOD, model=7), 422, "model"),
        (asked(GOOD) | {"metadata": 7}, 422, "metadata"),
    ],
    ids=range(21),
)
async def test_what_is_no_request_is_refused_with_its_place(service: Service, body, status, says):
    answer = await service.client.post(PATH, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(says)
    assert answer.json()["error"] == answer.json()["detail"]
    assert len(answer.content) < 4096
    assert (await forecast(service, asked(GOOD)))["status"] == "completed"


async def test_transport_is_checked_as_everywhere(service: Service):
    good = json.dumps(asked(GOOD)).encode()
    nan = good.replace(b"340.0", b"NaN")
    assert nan != good
    for content, headers, status in (
        (b"{", {}, 400),
        (nan, {}, 400),
        (good, {"content-type": "text/plain"}, 415),
        (good, {"x-request-timeout-ms": "0"}, 400),
        (b" " * 300_000, {}, 413),
    ):
        sent = {"content-type": "application/json"} | headers
        answer = await service.client.post(PATH, content=content, headers=sent)
        assert answer.status_code == status


async def test_a_calendar_that_is_needed_is_asked_for_by_kserve_s_name(covariates: Service):
    item = series(load(9)[:, 0].tolist(), frequency="H")
    answer = await covariates.client.post(PATH, json=asked(item, model="calendar", horizon=1))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("inputs[0].start_timestamp: expected the time of")


async def test_a_forecast_that_is_not_finite_names_its_input():
    async with running() as service:
        batcher = service.engine.newest(GRU).batcher
        run = batcher._runner.run

        class Overflowing:
            def run(self, rows):
                answers = run(rows)
                for row, answer in zip(rows, answers, strict=True):
                    answer.finite = len(row.sequence) != 40
                return answers

        batcher._runner = Overflowing()
        inputs = GOOD, GOOD | {"frequency": "year"}, series(weeks(40))
        answer = await service.client.post(PATH, json=asked(*inputs))
        assert answer.status_code == 422
        assert answer.json()["detail"] == "inputs[2]: the model's answer is not finite."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
PLACES = [
    (), *[(key,) for key in asked(GOOD)], *[("options", key) for key in ("horizon", "quantiles")],
    *[("inputs", number) for number in (0, 1)],
    *[("inputs", 1, key) for key in (*GOOD, "start_timestamp", "future", "static", "more")],
    ("inputs", 1, "series", 7),
]  # fmt: skip


@settings(deadline=None)
@given(place=st.sampled_from(PLACES), value=JSON)
async def test_whatever_comes_is_a_query_or_an_error_of_the_table(place, value):
    document = copy.deepcopy(asked(GOOD, GOOD, quantiles=[0.5]))
    level = document
    for step in place[:-1]:
        level = level[step]
    if place:
        level[place[-1]] = value
    model = card(features=("co2",), targets=("co2",), frequency="1w", horizon=13, max_length=40)
    with contextlib.suppress(InvalidRequest, InvalidSequence, MalformedRequest):
        found = ForecastQuery(
            read_envelope(json.dumps(document if place else value).encode()), model, 3
        )
        assert 1 <= len(found.rows) <= 3
        check_rows(found.rows, model)
        answer = Answer(np.zeros(model.answer_shape, "f4"), np.zeros((13, 1), "f4"))
        written = json.loads(found.write([answer] * len(found.rows), 1).body)
        assert ForecastResponse.model_validate(written)


async def test_a_version_can_be_named(service: Service):
    expected = await native(service, GRU, weeks(30))
    found = await forecast(service, asked(GOOD) | {"model_version": "1"})
    assert found["outputs"][0]["content"][0]["mean_forecast"] == expected[0]["mean"]
    for version in ("2", "stable", "../1", "0", "9" * 30):
        body = asked(GOOD) | {"model_version": version}
        answer = await service.client.post(PATH, json=body)
        assert answer.status_code == 404
    numbered = await service.client.post(PATH, json=asked(GOOD) | {"model_version": 1})
    assert numbered.status_code == 422


async def test_a_large_body_is_read_and_answered_alike():
    roomy = SMALL.model_copy(update={"max_body_bytes": 2**20})
    async with running(roomy) as service:
        inputs = [GOOD | {"series": weeks(104, 300 + number)} for number in range(60)]
        padding = {"metadata": {"much": "x" * LARGE}}
        small, large = [await forecast(service, asked(*inputs) | more) for more in ({}, padding)]
        assert [each["content"] for each in small["outputs"]] == [
            each["content"] for each in large["outputs"]
        ]
        bad = asked(series(weeks(25))) | padding
        refused = await service.client.post(PATH, json=bad)
        assert refused.json()["detail"].startswith("inputs[0].series: expected 26 to 104 steps")


async def test_the_models_are_the_forecasters(service: Service):
    assert (await service.client.get("/v1/timeseries/models")).json() == [
        "co2-gru",
        "co2-lstm",
        "co2-stream-gru",
        "elnino-attention",
    ]


async def test_openapi_has_a_request_for_each_model_that_is_answered(service: Service):
    document = (await service.client.get("/openapi.json")).json()
    operation = document["paths"][PATH]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) >= {GRU, ATTENTION}
    for example in examples.values():
        ForecastRequest.model_validate(example["value"])
        assert (await forecast(service, example["value"]))["status"] == "completed"
    fields = document["components"]["schemas"]["ForecastRequest"]["required"]
    assert fields == ["model", "inputs", "options"]
