"""A backtest of a caller's own series: the figures of /predict, computed for them."""

import asyncio
import json

import numpy as np
import pytest

from models.quantiles import mean_weights
from models.repository import Repository
from service.http.schemas.backtest import BacktestResponse
from service.settings import ZOO
from tests.engine.conftest import export
from tests.engine.graphs import Graph
from tests.engine.graphs import card as small
from tests.http.inprocess import ATTENTION, GRU, SMALL, Service, running, weeks
from training.data import read_table
from training.recipe import Recipe
from training.windows import split, trained_on

HORIZON, SEASON, SHORTEST, LONGEST = 13, 52, 26, 104  # of the GRU


@pytest.fixture(scope="module")
def service(lasting: Service) -> Service:
    return lasting


async def ask(service: Service, body: object, model: str = GRU, **options):
    return await service.client.post(f"/v1/models/{model}/backtest", json=body, **options)


async def scored(service: Service, body: object, model: str = GRU) -> dict:
    answer = await ask(service, body, model)
    assert answer.status_code == 200, answer.text
    return BacktestResponse.model_validate(answer.json()).model_dump()


def co2() -> tuple[list[float | None], int, Recipe]:
    """Return the series behind the GRU as JSON has it, and how much of it training saw."""
    recipe = Recipe.read(ZOO.parent.parent / f"training/recipes/{GRU}.toml")
    table = read_table(recipe.data)
    seen = trained_on(table, split(table, recipe))
    values = [None if np.isnan(v) else float(v) for v in table.series[0].values[:, 0]]
    return values, len(seen[0]), recipe


def naive_by_hand(series, origin) -> list[float]:
    forecast = []
    for step in range(HORIZON):
        place = origin + 1 + step % SEASON - SEASON
        while place >= 0 and series[place] is None:
            place -= SEASON
        if place < 0:
            place = max(at for at in range(origin + 1) if series[at] is not None)
        forecast.append(series[place])
    return forecast


async def predicted(service: Service, series, origins) -> tuple[np.ndarray, list[float]]:
    """Ask /predict at each origin; return (origins, horizon, quantiles) and the levels."""
    rows = [series[max(0, origin + 1 - LONGEST) : origin + 1] for origin in origins]
    answer = (await service.predict({"sequences": rows})).json()["predictions"]
    levels = [float(level) for level in answer[0]["quantiles"]]
    return np.array([list(one["quantiles"].values()) for one in answer]).transpose(0, 2, 1), levels


@pytest.mark.parametrize("start", [0, 900, 1980])
async def test_every_figure_is_that_of_predict_and_a_few_lines_of_numpy(service: Service, start):
    whole, _, _ = co2()
    series = whole[start : start + 300]
    body = {"series": [{"values": series, "id": "mauna loa"}], "origins": 12}
    found = await scored(service, body)
    (one,) = found["series"]
    origins = one["origins"]
    assert (one["id"], one["windows"], found["season"]) == ("mauna loa", len(origins), SEASON)
    answers, levels = await predicted(service, series, origins)
    values = np.array(series, float)
    actuals = np.array([values[o + 1 : o + 1 + HORIZON] for o in origins])
    naive = np.array([naive_by_hand(series, origin) for origin in origins], float)
    error = np.abs(actuals - answers[..., levels.index(0.5)])
    squared = (actuals - answers @ mean_weights(levels)) ** 2
    inside = np.where(
        np.isnan(actuals), np.nan, (actuals >= answers[..., 0]) & (actuals <= answers[..., -1])
    )
    signed = actuals[..., None] - answers
    pinball = np.maximum(np.array(levels) * signed, (np.array(levels) - 1) * signed)
    past = values[: origins[0] + 1]
    target = one["targets"]["co2"]
    expected = {
        "mae": np.nanmean(error),
        "rmse": np.sqrt(np.nanmean(squared)),
        "coverage": np.nanmean(inside),
        "weighted_quantile_loss": 2 * np.nansum(pinball.mean(-1)) / np.nansum(np.abs(actuals)),
        "mase": np.nanmean(error) / np.nanmean(np.abs(past[SEASON:] - past[:-SEASON])),
        "nominal_coverage": levels[-1] - levels[0],
    }
    for name, value in expected.items():
        assert target[name] == pytest.approx(value, rel=1e-3), name
    windows = np.nanmean(error, axis=1)
    assert target["spread"]["std"] == pytest.approx(np.std(windows), rel=1e-3)
    assert target["spread"]["p50"] == pytest.approx(np.median(windows), rel=1e-3)
    by_step = target["by_step"]
    assert by_step["mae"] == pytest.approx(np.nanmean(error, axis=0), rel=1e-3)
    assert by_step["rmse"] == pytest.approx(np.sqrt(np.nanmean(squared, axis=0)), rel=1e-3)
    assert by_step["coverage"] == pytest.approx(np.nanmean(inside, axis=0), rel=1e-3)
    repeated = target["baselines"]["seasonal_naive"]
    missed = np.abs(actuals - naive)
    assert repeated["mae"] == pytest.approx(np.nanmean(missed), rel=1e-3)
    assert repeated["rmse"] == pytest.approx(np.sqrt(np.nanmean(missed**2)), rel=1e-3)
    assert repeated["mae_by_step"] == pytest.approx(np.nanmean(missed, axis=0), rel=1e-3)
    assert repeated["mae_ratio"] == pytest.approx(np.nanmean(error) / np.nanmean(missed), rel=1e-3)


@pytest.mark.parametrize(
    ("length", "choices", "origins"),
    [
        (39, {}, [25]),
        (40, {}, [25, 26]),
        (65, {"origins": 3}, [25, 38, 51]),
        (65, {"origins": 5}, [27, 33, 39, 45, 51]),
        (65, {"origins": 3, "stride": 1}, [49, 50, 51]),
        (65, {"origins": 9, "stride": 20}, [31, 51]),
        (300, {"origins": 2}, [273, 286]),
    ],
)
async def test_the_last_windows_that_fit_are_forecast(service: Service, length, choices, origins):
    found = await scored(service, {"series": [weeks(length)]} | choices)
    assert found["series"][0]["origins"] == origins


async def test_series_are_scored_in_the_order_sent_each_as_if_alone(service: Service):
    series = [weeks(60, 320), {"values": weeks(90, 360), "id": "b"}, weeks(39, 340)]
    together = await scored(service, {"series": series, "origins": 5})
    alone = [await scored(service, {"series": [one], "origins": 5}) for one in series]
    assert together["series"] == [one["series"][0] for one in alone]


async def test_times_are_those_of_the_first_step_forecast(service: Service):
    series = {"values": weeks(40), "start": "2024-01-07T00:00:00Z"}
    found = await scored(service, {"series": [series]})
    assert found["series"][0]["times"] == ["2024-07-07T00:00:00Z", "2024-07-14T00:00:00Z"]


async def test_windows_without_a_value_to_read_or_to_compare_with_are_left_out(service: Service):
    series = [*weeks(60), *[None] * 40]
    found = await scored(service, {"series": [series], "origins": 100, "stride": 1})
    assert found["series"][0]["origins"] == list(range(25, 59))
    late = [*[None] * 40, *weeks(30)]
    found = await scored(service, {"series": [late], "origins": 100, "stride": 1})
    assert found["series"][0]["origins"] == list(range(40, 57))


async def test_beside_outcomes_of_zero_there_is_no_quantile_loss(service: Service):
    found = await scored(service, {"series": [[0.0] * 60]})
    told = found["series"][0]["targets"]["co2"]
    assert told["weighted_quantile_loss"] is None
    assert told["mae"] > 0


async def test_an_unobserved_outcome_is_welcome_where_a_missing_input_is_not(service: Service):
    months = [20.0 + (step % 12) for step in range(30)]
    tail = [*months[:-2], None, months[-1]]
    found = await scored(service, {"series": [tail], "origins": 1}, ATTENTION)
    column = found["series"][0]["targets"]["temperature"]["by_step"]["mae"]
    assert [one is None for one in column] == [False] * 4 + [True, False]
    refused = await ask(service, {"series": [months, tail], "origins": 9, "stride": 1}, ATTENTION)
    assert refused.status_code == 200  # the missing value is after the last origin
    hole = [*months[:12], None, *months[13:]]
    refused = await ask(service, {"series": [months, hole]}, ATTENTION)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("series[1].values[12]: a missing value")


@pytest.mark.parametrize(
    ("body", "place", "says"),
    [
        ({"series": []}, "series", "at least one series"),
        ({"series": [weeks(39)] * 65}, "series", "1 to 64"),
        ({"series": [weeks(300)] * 4}, "origins", "at most 64 windows"),
        ({"series": [weeks(38)]}, "series[0].values", "at least 39 steps, 26 to read and 13 to"),
        ({"series": [weeks(39), []]}, "series[1].values", "at least one step"),
        ({"series": [[[1, 2]] * 50]}, "series[0].values", "expected 1 features a step (co2)"),
        ({"series": [[*weeks(50), "7"]]}, "series[0].values[50]", "got a string"),
        ({"series": [[*weeks(50), 1e39]]}, "series[0].values[50]", "range of float32"),
        ({"series": [[None] * 50]}, "series[0].values", "no window has an observed"),
        ({"series": [{"values": weeks(50), "future": []}]}, "series[0].future", ""),
        ({"series": [{"values": weeks(50), "start": "soon"}]}, "series[0].start", "ISO 8601"),
        ({"series": [{"values": weeks(50), "start": "9999-12-31"}]}, "series[0].start", "calendar"),
        ({"series": [weeks(50)], "origins": 0}, "origins", "greater than or equal to 1"),
        ({"series": [weeks(50)], "origins": 1.5}, "origins", "valid integer"),
        ({"series": [weeks(50)], "stride": 10**7}, "stride", "less than or equal"),
        ({"series": [weeks(50)], "step": 1}, "step", ""),
        ({"series": 7}, "series", "valid list"),
        ({}, "series", "required"),
        ([], "the body", "expected an object"),
    ],
    ids=lambda each: str(each)[:40],
)
async def test_what_does_not_fit_is_refused_with_its_place(service: Service, body, place, says):
    answer = await ask(service, body)
    problem = answer.json()
    assert answer.status_code == 422, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"].startswith(f"{place}:")
    assert says in problem["detail"]


async def test_what_is_no_json_or_too_large_or_for_nobody_is_refused(service: Service):
    url = f"/v1/models/{GRU}/backtest"
    json_type = {"content-type": "application/json"}
    assert (await service.client.post(url, content="{", headers=json_type)).status_code == 400
    assert (await service.client.post(url, content="{}")).status_code == 415
    large = json.dumps({"series": [weeks(60)], "pad": "x" * 200_000})
    assert (await service.client.post(url, content=large, headers=json_type)).status_code == 413
    assert (await ask(service, {"series": [weeks(60)]}, "nobody")).status_code == 404
    old = await service.client.post(
        f"/v1/models/{GRU}/versions/9/backtest", json={"series": [weeks(60)]}
    )
    assert old.status_code == 404


async def test_a_version_can_be_named(service: Service):
    body = {"series": [weeks(60)]}
    answer = await service.client.post(f"/v1/models/{GRU}/versions/1/backtest", json=body)
    assert answer.json() == (await ask(service, body)).json()


async def test_the_deadline_is_that_of_a_prediction(service: Service):
    body = {"series": [weeks(1200)], "origins": 64}
    answer = await ask(service, body, headers={"x-request-timeout-ms": "1"})
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("deadline-exceeded")
    assert service.engine.newest(GRU).batcher.waiting == 0
    assert (await ask(service, body)).status_code == 200


async def test_predictions_pass_a_backtest_that_came_first():
    async with running(SMALL.model_copy(update={"max_batch_size": 1})) as service:
        body = {"series": [weeks(1200)], "origins": 64}
        slow = asyncio.create_task(ask(service, body))
        batcher = service.engine.newest(GRU).batcher
        while not batcher.waiting:  # noqa: ASYNC110  a thread reads the request
            await asyncio.sleep(0)
        for _ in range(3):
            quick = await service.predict({"sequences": [weeks(30)]})
            assert quick.status_code == 200
            assert not slow.done()
            assert batcher.waiting
        assert (await slow).status_code == 200


async def test_the_example_of_each_model_works_when_pasted(service: Service):
    document = (await service.client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/models/{name}/backtest"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert sorted(examples) == ["co2-gru", "co2-lstm", "co2-stream-gru", "elnino-attention"]
    for name, example in examples.items():
        found = await scored(service, example["value"], name)
        assert found["series"][0]["windows"] == 2
    assert "BacktestRequest" in document["components"]["schemas"]


@pytest.mark.parametrize("begin", [0, 333, 1007])
async def test_a_series_the_model_was_trained_on_is_recognised_and_said(service: Service, begin):
    values, seen, _ = co2()
    assert begin + 400 < seen
    found = await scored(service, {"series": [weeks(60), values[begin : begin + 400]]})
    fresh, known = (one["training_overlap"] for one in found["series"])
    assert fresh["found"] == fresh["windows"] == 0
    assert known["found"] == known["checked"] > 10
    assert known["windows"] >= found["series"][1]["windows"] - 1
    (warning,) = found["warnings"]
    assert warning.startswith(f"series[1]: {known['windows']} of ")
    assert "trained on" in warning


async def test_the_held_out_part_brings_no_warning_nor_does_what_it_reads_before(service: Service):
    values, seen, recipe = co2()
    held_out = await scored(service, {"series": [values[seen:]]})
    before = values[seen - LONGEST :]
    count = (len(values) - seen - HORIZON) // HORIZON
    body = {"series": [before], "origins": count, "stride": HORIZON}
    reading = await scored(service, body)
    assert held_out["warnings"] == []
    assert held_out["series"][0]["training_overlap"]["found"] == 0
    assert reading["series"][0]["training_overlap"]["found"] > 0
    assert reading["series"][0]["training_overlap"]["windows"] == 0
    assert reading["warnings"] == []
    assert recipe.horizon == HORIZON


async def test_a_card_without_fingerprints_says_that_it_cannot_tell(tmp_path):
    Repository(tmp_path).publish("small", Graph().write)
    async with running(SMALL.model_copy(update={"models": tmp_path})) as service:
        found = await scored(service, {"series": [weeks(60)]}, "small")
    assert found["series"][0]["training_overlap"] is None
    (warning,) = found["warnings"]
    assert "not known" in warning


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Return a GRU of three features, the last of them known ahead."""
    folder = tmp_path_factory.mktemp("wide")
    Repository(folder).publish("gru", lambda path: export("gru", path, missing=True))
    return SMALL.model_copy(update={"models": folder})


async def test_what_is_known_ahead_is_taken_from_the_series(wide):
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(50, 9, (60, 3)), 2)
    async with running(wide) as service:
        found = await scored(service, {"series": [values.tolist()], "origins": 8}, "gru")
        origins = found["series"][0]["origins"]
        sequences = [
            {
                "values": values[max(0, o - 23) : o + 1].tolist(),
                "future": values[o + 1 : o + 4, 2:].tolist(),
            }
            for o in origins
        ]
        answer = await service.predict({"sequences": sequences}, "gru")
        medians = [one["quantiles"]["0.5"] for one in answer.json()["predictions"]]
    actuals = [values[o + 1 : o + 4, 0] for o in origins]
    mae = np.abs(np.array(medians) - np.array(actuals)).mean()
    assert found["series"][0]["targets"]["load"]["mae"] == pytest.approx(mae, rel=1e-4)
    assert list(found["series"][0]["targets"]) == ["load"]


async def test_a_covariate_that_must_be_known_ahead_and_is_not_is_named(wide):
    values = np.ones((30, 3)).tolist()
    values[-1][0] = values[-1][1] = None  # what came, or comes, need not be known
    async with running(wide) as service:
        assert (await ask(service, {"series": [values]}, "gru")).status_code == 200
        values[-1][2] = None
        answer = await ask(service, {"series": [values]}, "gru")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("series[0].values[29][2]: a missing value")


async def test_several_targets_have_figures_of_their_own(tmp_path):
    graph = Graph(small(features=("load", "wind"), targets=("load", "wind")))
    Repository(tmp_path).publish("small", graph.write)
    load = [float(step) for step in range(40)]
    series = [[value, value if value < 38 else None] for value in load]
    async with running(SMALL.model_copy(update={"models": tmp_path})) as service:
        found = await scored(service, {"series": [series], "origins": 1}, "small")
    (one,) = found["series"]
    assert list(one["targets"]) == ["load"]  # the last load is repeated, 1 and 2 too low
    assert one["targets"]["load"]["by_step"]["mae"] == (1.0, 2.0)
    assert one["targets"]["load"]["mase"] == 1.5 / 24  # the season of hours
    assert found["warnings"][0] == "series[0]: never observed in a window: wind"


async def test_an_answer_that_is_not_finite_names_the_series_and_the_origin(tmp_path):
    Repository(tmp_path).publish("small", Graph(bias=3e38).write)
    series = [1.0, 2.0, 3.0, 3e38, 1.0, 1.0]
    async with running(SMALL.model_copy(update={"models": tmp_path})) as service:
        answer = await ask(service, {"series": [[1.0] * 9, series], "stride": 1}, "small")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("series[1], origin 3: ")
