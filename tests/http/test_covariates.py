"""Calendar and static covariates: what a caller need not send is what a caller could have sent."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from models.frequency import Frequency
from models.repository import Repository
from tests.http import tables, tensors
from tests.http.inprocess import SMALL, running
from tests.http.weighing import CARDS, HORIZON, START, Weighing, load

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for card in CARDS:
        Repository(folder).publish(card.name, Weighing(card).write)
    return SMALL.model_copy(update={"models": folder})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(models):
    async with running(models) as service:
        yield service


def waves(times, phases) -> np.ndarray:
    """Return sine and cosine of the share of each cycle that has passed."""
    shares = [[phase(time.astimezone(UTC)) for phase in phases] for time in times]
    return np.array(
        [[w(2 * math.pi * s) for s in row for w in (math.sin, math.cos)] for row in shares], "f4"
    )


def hour_and_weekday(times) -> np.ndarray:
    return waves(times, (lambda time: time.hour / 24, lambda time: time.weekday() / 7))


def month_and_weekday(times) -> np.ndarray:
    return waves(times, (lambda time: (time.month - 1) / 12, lambda time: time.weekday() / 7))


def steps(start, frequency, count) -> list[datetime]:
    first = datetime.fromisoformat(start)
    return [Frequency.parse(frequency).step(first, step) for step in range(count)]


async def infer(service, name, sequence, future=None) -> np.ndarray:
    """Ask with the tensors that the file itself takes, (horizon, quantiles)."""
    inputs = [tensors.tensor("sequences", sequence[None])]
    if future is not None:
        inputs.append(tensors.tensor("future", future[None]))
    answer = await service.client.post(f"/v2/models/{name}/infer", json={"inputs": inputs})
    return tensors.read(answer)[1]["predictions"][0, :, 0]


async def forecast(service, name, *sequences) -> list[np.ndarray]:
    answer = await service.predict({"sequences": list(sequences)}, name)
    assert answer.status_code == 200, answer.text
    return [
        np.array([one["quantiles"][level] for level in ("0.1", "0.5", "0.9")], "f4").T
        for one in answer.json()["predictions"]
    ]


async def refusal(service, name, *sequences) -> str:
    answer = await service.predict({"sequences": list(sequences)}, name)
    assert answer.status_code == 422, answer.text
    return answer.json()["detail"]


@pytest.mark.parametrize(
    ("name", "frequency", "by_hand", "start"),
    [
        ("calendar", "1h", hour_and_weekday, START),
        ("months", "1me", month_and_weekday, "2023-11-30"),
        ("months", "1me", month_and_weekday, "2023-12-31T23:30:00-03:00"),
    ],
)
async def test_a_start_gets_the_answer_of_the_columns_computed_by_hand(
    service, name, frequency, by_hand, start
):
    values = load(30)
    columns = by_hand(steps(start, frequency, 30 + HORIZON))
    expected = await infer(service, name, np.hstack([values, columns[:30]]), columns[30:])
    (found,) = await forecast(service, name, {"values": values.tolist(), "start": start})
    np.testing.assert_allclose(found, expected, atol=1e-6)
    (other,) = await forecast(service, name, {"values": values.tolist(), "start": "2026-05-02"})
    assert np.abs(found - other).max() > 1e-4


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.datetimes(datetime(1980, 1, 1), datetime(2060, 1, 1))),  # noqa: DTZ001
        min_size=1,
        max_size=6,
    )
)
async def test_each_of_many_sequences_has_its_own_calendar(service, rows):
    given = [{"values": load(n).tolist(), "start": start.isoformat()} for n, start in rows]
    together = await forecast(service, "calendar", *given)
    for (length, start), found in zip(rows, together, strict=True):
        times = [start.replace(tzinfo=UTC) + timedelta(hours=h) for h in range(length + 3)]
        columns = hour_and_weekday(times)
        sequence = np.hstack([load(length), columns[:length]])
        expected = await infer(service, "calendar", sequence, columns[length:])
        np.testing.assert_allclose(found, expected, atol=1e-6)


async def test_columns_stand_in_the_order_of_the_card_whatever_else_there_is(service):
    values = np.hstack([load(20), load(20, 3.0), load(20, -1.0)])  # load, wind, open
    future, static = load(HORIZON, 2.0), np.array([[2.5, 0, 1]], "f4")
    cycles = hour_and_weekday(steps(START, "1h", 20 + HORIZON))
    constant = static.repeat(20, axis=0)
    sequence = np.hstack([values[:, :2], constant, values[:, 2:], cycles[:20]])
    expected = await infer(service, "all", sequence, np.hstack([future, cycles[20:]]))
    given = {
        "values": values.tolist(),
        "start": START,
        "future": future.tolist(),
        "static": {"region": "south", "size": 2.5},
    }
    (found,) = await forecast(service, "all", given)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for change in ({"region": "north"}, {"size": 2}):
        (other,) = await forecast(service, "all", given | {"static": given["static"] | change})
        assert np.abs(found - other).max() > 1e-4


VALUES = load(20).tolist()
WHOLE = {"values": VALUES, "start": START, "static": {"size": 1, "region": "north"}}


@pytest.mark.parametrize(
    ("name", "change", "place", "says"),
    [
        ("calendar", {"start": None}, "start", "expected the time of the first step"),
        ("calendar", {"start": "soon"}, "start", "expected an ISO 8601 time"),
        ("calendar", {"start": "9999-12-31T10:00"}, "start", "the forecast would leave"),
        ("calendar", {"start": "0001-01-01T00:00+14:00"}, None, None),
        ("calendar", {"values": [[1.0] * 5] * 20}, "values", "1 features a step (load), got 5"),
        ("calendar", {"values": [1.0] * 41}, "values", "expected 1 to 40 steps, got 41"),
        ("calendar", {"future": [[1.0] * 4] * 3}, "future", "this model knows no covariates"),
        ("calendar", {"static": {"size": 1}}, "static", "has no static covariates"),
        ("static", {"static": None}, "static", "expected an object with size, region"),
        ("static", {"static": ["north"]}, "static", "expected an object with size, region"),
        ("static", {"static": {"size": 1}}, "static.region", "one of north, south"),
        ("static", {"static": {"size": 1, "region": "west"}}, "static.region", "north, south"),
        ("static", {"static": {"size": 1, "region": [1]}}, "static.region", "north, south"),
        ("static", {"static": {"region": "north"}}, "static.size", "expected a number"),
        ("static", {"static": {"size": True, "region": "north"}}, "static.size", "a number"),
        ("static", {"static": {"size": 1e39, "region": "north"}}, "static.size", "float32"),
        ("static", {"static": {"size": 1, "colour": 2}}, "static.colour", "unknown"),
        ("all", {"values": [[1.0, 1.0, None]] * 20}, "values[0][2]", "a missing value"),
        ("all", {"future": None}, "future", "3 steps of the known covariates (open), got none"),
        ("all", {"future": [[1.0] * 5] * 3}, "future", "expected shape (3, 1), got (3, 5)"),
    ],
)
async def test_what_does_not_fit_is_refused_with_its_place(service, name, change, place, says):
    whole = WHOLE | ({"values": [[1.0] * 3] * 20, "future": [[1.0]] * 3} if name == "all" else {})
    if name == "calendar":
        whole = whole | {"static": None}
    body = {key: value for key, value in (whole | change).items() if value is not None}
    answer = await service.predict({"sequences": [body]}, name)
    if place is None:
        assert answer.status_code == 200
        return
    assert answer.status_code == 422
    assert f"sequences[0].{place}: " in answer.json()["detail"]
    assert says in answer.json()["detail"]


async def test_the_place_counts_the_sequences(service):
    fine = {"values": VALUES, "start": START}
    assert "sequences[1].start: " in await refusal(service, "calendar", fine, VALUES)


async def test_a_model_without_static_covariates_takes_none(service):
    given = {"values": VALUES, "start": START, "static": {}}
    assert "sequences[0].static: " in await refusal(service, "calendar", given)


@pytest.mark.parametrize("path", ["/v1/models/{name}/predict", "/v2/models/{name}/infer"])
async def test_every_example_of_the_document_works_when_pasted(service, path):
    document = (await service.client.get("/openapi.json")).json()
    body = document["paths"][path]["post"]["requestBody"]
    examples = body["content"]["application/json"]["examples"]
    assert examples.keys() == {card.name for card in CARDS}
    for name, example in examples.items():
        answer = await service.client.post(path.replace("{name}", name), json=example["value"])
        assert answer.status_code == 200, answer.text
    assert len(body["content"]) == 2  # and a form of bytes


async def test_the_example_of_a_model_with_a_calendar_has_a_start(service):
    document = (await service.client.get("/openapi.json")).json()
    body = document["paths"]["/v1/models/{name}/predict"]["post"]["requestBody"]
    example = body["content"]["application/json"]["examples"]["calendar"]
    assert "start" in example["value"]["sequences"][0]


SERIES = {"b": load(20)[:, 0], "a": load(33, 1.0)[:, 0]}
FIRST = datetime(2026, 3, 27, 20, tzinfo=UTC).replace(tzinfo=None)


def long(series, **constant) -> pl.DataFrame:
    """Return a table of hourly series; ``region=("north", "south")`` gives one value to each."""
    return pl.concat(
        pl.DataFrame(
            {
                "unique_id": [name] * len(values),
                "ds": [FIRST + timedelta(hours=step) for step in range(len(values))],
                "load": values.astype("f8"),
            }
            | {column: [each[number]] * len(values) for column, each in constant.items()}
        )
        for number, (name, values) in enumerate(series.items())
    )


def found_in(frame: pl.DataFrame) -> np.ndarray:
    return frame.select("q0.1", "q0.5", "q0.9").to_numpy().reshape(-1, HORIZON, 3)


@pytest.mark.parametrize(
    "kind", [pl.Datetime("us"), pl.Datetime("ns", "UTC"), pl.Datetime("ms")], ids=str
)
async def test_a_table_with_times_gets_the_answer_of_json(service, kind):
    given = [{"values": v.tolist(), "start": FIRST.isoformat()} for v in SERIES.values()]
    expected = await forecast(service, "calendar", *given)
    frame = long(SERIES).with_columns(pl.col("ds").cast(pl.Datetime(kind.time_unit)))
    if kind.time_zone:
        frame = frame.with_columns(pl.col("ds").dt.replace_time_zone("UTC"))
    answer = await tables.send(service, tables.stream(frame), "calendar")
    assert found_in(tables.read(answer)).tobytes() == np.stack(expected).tobytes()


async def test_a_table_of_dates_gets_the_answer_of_json(service):
    days = [datetime(2023, 1, 31), datetime(2023, 2, 28), datetime(2023, 3, 31)]  # noqa: DTZ001
    frame = pl.DataFrame({"unique_id": ["a"] * 3, "ds": days, "load": [1.0, 2.0, 1.5]})
    given = {"values": [1.0, 2.0, 1.5], "start": "2023-01-31"}
    expected = await forecast(service, "months", given)
    dates = frame.with_columns(pl.col("ds").cast(pl.Date))
    answer = await tables.send(service, tables.stream(dates), "months")
    assert found_in(tables.read(answer)).tobytes() == np.stack(expected).tobytes()


@pytest.mark.parametrize("kind", [pl.String, pl.Categorical])
@pytest.mark.parametrize("name", ["static", "made"])
async def test_a_table_may_hold_static_columns(service, name, kind):
    regions, sizes = ("south", "north"), (3, 1)
    given = [
        {"values": v.tolist(), "start": FIRST.isoformat(), "static": {"size": s, "region": r}}
        for v, s, r in zip(SERIES.values(), sizes, regions, strict=True)
    ]
    expected = await forecast(service, name, *given)
    frame = long(SERIES, region=regions, size=sizes).with_columns(pl.col("region").cast(kind))
    answer = await tables.send(service, tables.stream(frame), name)
    assert found_in(tables.read(answer)).tobytes() == np.stack(expected).tobytes()


FINE = long(SERIES, region=("north", "south"), size=(1.0, 2.0))
ROW = pl.int_range(pl.len())


def changed(column, row, value) -> pl.DataFrame:
    return FINE.with_columns(pl.when(row == ROW).then(value).otherwise(column).alias(column))


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (FINE.drop("ds"), "column 'ds': is missing"),
        (FINE.drop("region"), "column 'region': is missing"),
        (FINE.with_columns(region=pl.lit(1)), "column 'region': expected strings"),
        (FINE.with_columns(size=pl.lit("1")), "column 'size': expected numbers"),
        (FINE.with_columns(region=pl.lit("west")), "'b', region: expected one of north, south"),
        (FINE.with_columns(size=pl.lit(1e39)), "unique_id 'b', size: expected a number"),
        (FINE.with_columns(size=pl.lit(float("nan"))), "unique_id 'b', size[0]: "),
        (FINE.with_columns(hour_sin=pl.lit(0.0)), "column 'hour_sin': unknown"),
        (changed("region", 25, pl.lit("north")), "unique_id 'a', region[5]: expected the value"),
        (changed("size", 7, pl.lit(9.0)), "unique_id 'b', size[7]: expected the value"),
        (changed("region", 21, None), "region[21]: expected a text, got null"),
        (changed("size", 21, None), "unique_id 'a', size[1]: expected a number, got null"),
    ],
)
async def test_a_table_that_does_not_fit_is_refused_with_its_place(service, frame, says):
    answer = await tables.send(service, tables.stream(frame), "made")
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


async def test_a_table_has_no_place_for_what_else_is_known_ahead(service):
    frame = FINE.with_columns(wind=pl.lit(1.0), open=pl.lit(1.0))
    answer = await tables.send(service, tables.stream(frame), "all")
    assert answer.status_code == 422
    assert "covariates known ahead (open), for which" in answer.json()["detail"]
