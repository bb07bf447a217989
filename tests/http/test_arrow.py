"""Arrow streams: what a caller sends, and what comes back."""

import io
import subprocess
import sys

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from models.repository import Repository
from service.http.schemas.arrow.query import ArrowQuery
from tests.engine.graphs import Graph, card
from tests.http.inprocess import ATTENTION, GRU, SMALL, Service, running, weeks
from tests.http.tables import ARROW, long, read, send, stream

SERIES = {"b": weeks(26, 330), "a": weeks(104, 350), "c": weeks(77, 310)}
MONTHS = [24.8, 26.1, 26.4, 25.6, 24.3, 22.9, 21.9, 20.9, 20.5, 20.9, 21.6, 22.7]


@pytest.fixture(scope="module")
def service(lasting: Service) -> Service:
    return lasting


def pyarrow_stream(table, most=None) -> bytes:
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=most)
    return sink.getvalue()


async def as_json(service, series, start="2020-01-05", model=GRU):
    """Return the JSON route's answers to the same series as columns."""
    body = {"sequences": [{"values": values, "start": start} for values in series.values()]}
    answers = (await service.predict(body, model)).json()["predictions"]

    def column(take):
        return np.array([value for one in answers for value in take(one)], np.float32)

    times = [time.removesuffix("Z") for one in answers for time in one["timestamps"]]
    levels = {f"q{level}": column(lambda one, level=level: one["quantiles"][level])
              for level in answers[0]["quantiles"]}  # fmt: skip
    return np.array(times, "M8[us]"), {"mean": column(lambda one: one["mean"])} | levels


async def test_a_table_gets_the_answers_of_json_to_the_bit_in_the_order_sent(service: Service):
    times, columns = await as_json(service, SERIES)
    answer = await send(service, stream(long(SERIES)))
    found = read(answer)
    assert found.columns == ["unique_id", "ds", "mean", "q0.1", "q0.5", "q0.9"]
    assert found["unique_id"].to_list() == ["b"] * 13 + ["a"] * 13 + ["c"] * 13
    assert found.schema["ds"] == pl.Datetime("us")
    assert (found["ds"].to_numpy() == times).all()
    for name, values in columns.items():
        assert found[name].to_numpy().tobytes() == values.tobytes()
    told = ipc.open_stream(answer.content).schema.metadata
    assert told == {b"model": b"co2-gru", b"version": b"1"}


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(26, 104), st.floats(-1e3, 1e3)), min_size=1, max_size=9),
    st.integers(1, 50),
)
async def test_neither_neighbours_nor_the_cut_into_batches_change_an_answer(rows, most):
    async with running(SMALL.model_copy(update={"max_body_bytes": 4_000_000})) as service:
        series = {f"s{number}": weeks(*row) for number, row in enumerate(rows)}
        _, columns = await as_json(service, series)
        found = read(await send(service, pyarrow_stream(long(series).to_arrow(), most)))
        for name, values in columns.items():
            assert found[name].to_numpy().tobytes() == values.tobytes()


ID_TYPES = {
    "string": pa.string(),
    "large string": pa.large_string(),
    "string view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int8(), pa.string()),
}


@pytest.mark.parametrize("kind", ID_TYPES)
@pytest.mark.parametrize("most", [None, 7])
async def test_an_id_may_be_any_kind_of_string(service: Service, kind, most):
    names = ["a", "b" * 40, ""]
    series = dict(zip(names, SERIES.values(), strict=True))
    expected = read(await send(service, stream(long(SERIES))))
    table = long(series).to_arrow()
    ids = table["unique_id"].cast(pa.string()).cast(ID_TYPES[kind])
    found = read(await send(service, pyarrow_stream(table.set_column(0, "unique_id", ids), most)))
    assert found["unique_id"].to_list() == [name for name in names for _ in range(13)]
    assert found.drop("unique_id").equals(expected.drop("unique_id"))


@pytest.mark.parametrize("kind", [pl.Int8, pl.Int64, pl.UInt64, pl.Categorical])
async def test_ids_of_polars_come_back_as_integers_or_strings(service: Service, kind):
    series = {"3": weeks(26), "1": weeks(30)}
    frame = long(series).with_columns(
        pl.col("unique_id").cast(pl.String if kind == pl.Categorical else kind).cast(kind)
    )
    found = read(await send(service, stream(frame)))
    assert found.schema["unique_id"] == (pl.String if kind == pl.Categorical else kind)
    assert found["unique_id"].cast(pl.String).to_list() == ["3"] * 13 + ["1"] * 13


@pytest.mark.parametrize(
    "kind", [pl.Int16, pl.UInt8, pl.Int64, pl.Float32, pl.Float64, pl.Decimal(10, 2)]
)
async def test_a_feature_may_be_any_number(service: Service, kind):
    values = [float(200 + step % 50) for step in range(40)]
    _, columns = await as_json(service, {"a": values})
    frame = long({"a": values}).with_columns(pl.col("co2").cast(kind))
    found = read(await send(service, stream(frame)))
    assert found["mean"].to_numpy().tobytes() == columns["mean"].tobytes()


async def test_without_times_the_steps_are_counted(service: Service):
    found = read(await send(service, stream(long(SERIES).drop("ds"))))
    assert found.columns[:3] == ["unique_id", "step", "mean"]
    assert found["step"].to_list() == list(range(1, 14)) * 3


async def test_null_is_a_missing_value_where_the_card_allows_it(service: Service):
    series = {"a": [*weeks(30), None, 340.0]}
    _, columns = await as_json(service, series)
    found = read(await send(service, stream(long(series))))
    assert found["mean"].to_numpy().tobytes() == columns["mean"].tobytes()


@pytest.mark.parametrize(
    ("kind", "start", "ends"),
    [
        (pl.Date, "2020-01-31", ["2021-01-31", "2021-02-28", "2021-03-31"]),
        (pl.Datetime("ms"), "2020-01-31", ["2021-01-31", "2021-02-28", "2021-03-31"]),
        (pl.Datetime("us", "UTC"), "2020-02-01", ["2021-02-01", "2021-03-01", "2021-04-01"]),
        (
            pl.Datetime("ns"),
            "2020-01-01T00:00:00.000000007",
            ["2021-01-01T00:00:00.000000007", "2021-02-01T00:00:00.000000007"],
        ),
    ],
    ids=str,
)
async def test_times_go_on_by_the_calendar_in_the_type_they_came_in(
    service: Service, kind, start, ends
):
    """Counted from the first: a month that starts on the 31st does so again after February."""
    first = np.datetime64(start, "ns")
    day = first - first.astype("M8[M]")
    months = (first.astype("M8[M]") + np.arange(12)).astype("M8[ns]")
    last = (first.astype("M8[M]") + np.arange(1, 13)).astype("M8[ns]") - np.timedelta64(1, "D")
    times = np.minimum(months + day, last)
    unit = "ns" if kind == pl.Date else kind.time_unit
    frame = pl.DataFrame({"unique_id": ["a"] * 12, "sst": MONTHS, "ds": times})
    column = pl.col("ds").cast(pl.Datetime(unit))
    if kind != pl.Date and kind.time_zone:
        column = column.dt.replace_time_zone(kind.time_zone)
    frame = frame.rename({"sst": await feature(service)}).with_columns(column.cast(kind))
    found = read(await send(service, stream(frame), ATTENTION))
    assert found.schema["ds"] == kind
    naive = found["ds"].cast(pl.Datetime("ns")).to_numpy()
    assert (naive[: len(ends)] == np.array(ends, "M8[ns]")).all()


async def feature(service):
    return (await service.client.get(f"/v1/models/{ATTENTION}/card")).json()["features"][0]


async def test_ends_of_months_go_on_from_the_last_where_they_begin_in_february(service: Service):
    ends = np.arange("2020-03", "2021-03", dtype="M8[M]").astype("M8[D]") - np.timedelta64(1, "D")
    frame = pl.DataFrame({"unique_id": ["a"] * 12, "ds": ends, await feature(service): MONTHS})
    found = read(await send(service, stream(frame), ATTENTION))
    assert [str(time) for time in found["ds"][:3]] == ["2021-02-28", "2021-03-31", "2021-04-30"]


async def test_a_month_that_is_missing_is_refused(service: Service):
    months = np.arange("2020-01", "2021-02", dtype="M8[M]").astype("M8[D]")
    frame = pl.DataFrame({"unique_id": "a", "ds": np.delete(months, 5)})
    frame = frame.with_columns(pl.Series(await feature(service), MONTHS))
    answer = await send(service, stream(frame), ATTENTION)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("unique_id 'a', ds[5]: expected a time 1mo after")


async def test_several_targets_are_named_in_their_columns_and_a_version_may_be(tmp_path):
    several = card(targets=("a", "b"), features=("a", "b", "c"), horizon=3)
    Repository(tmp_path).publish(several.name, Graph(several).write)
    frame = pl.DataFrame({"c": [1, 2], "unique_id": [7, 7], "b": [3, 4], "a": [5.0, 6.0]})
    async with running(SMALL.model_copy(update={"models": tmp_path})) as service:
        found = read(await send(service, stream(frame), f"{several.name}/versions/1"))
    names = [f"{target}_{what}" for target in "ab" for what in ("mean", "q0.1", "q0.5", "q0.9")]
    assert found.columns == ["unique_id", "step", *names]
    assert found["a_mean"].to_list() == [6.0] * 3


async def test_the_documentation_shows_both_media_types(service: Service):
    document = (await service.client.get("/openapi.json")).json()
    for path in ("/v1/models/{name}/predict", "/v1/models/{name}/versions/{version}/predict"):
        operation = document["paths"][path]["post"]
        for part in (operation["requestBody"], operation["responses"]["200"]):
            assert list(part["content"]) == ["application/json", ARROW["content-type"]]


def test_rows_are_contiguous_float32():
    frame = pl.DataFrame({"unique_id": ["a"] * 3 + ["b"] * 2, "load": range(5)})
    rows = ArrowQuery(stream(frame), card(), 2).rows
    assert [row.sequence.tolist() for row in rows] == [[[0], [1], [2]], [[3], [4]]]
    assert all(row.sequence.flags.c_contiguous for row in rows)
    assert {row.sequence.dtype for row in rows} == {np.dtype(np.float32)}


def test_pyarrow_is_imported_by_the_first_stream_and_not_before():
    code = "import sys, service.http.app, service.cli; print('pyarrow' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout.strip() == "False"


async def test_without_the_extra_a_stream_is_refused_and_told_how(service: Service, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("service.http.schemas.arrow.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as Python does for what is not there
    answer = await send(service, stream(long(SERIES)))
    assert answer.status_code == 415
    assert answer.headers["accept"] == "application/json"
    assert "pip install 'seqserve[arrow]'" in answer.json()["detail"]
    assert (await service.predict({"sequences": [weeks(30)]})).status_code == 200
