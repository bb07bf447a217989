"""Arrow streams that do not fit: the status, the place, and that nothing else breaks."""

import random
import struct
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import ipc

from models.repository import Repository
from tests.engine.graphs import Graph, card
from tests.http.inprocess import ATTENTION, SMALL, Service, running, weeks
from tests.http.tables import ARROW, START, long, read, send, stream

GOOD = long({"a": weeks(30), "b": weeks(27)})
SENT = stream(GOOD)
LAST = datetime(9999, 12, 31)  # noqa: DTZ001  as polars has it
B = pl.col("unique_id") == "b"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def service(lasting: Service) -> Service:
    return lasting


def changed(**columns):
    return GOOD.with_columns(**columns)


def at(row, value, column="co2"):
    """Return the good table with another value in one place."""
    values = GOOD[column].to_list()
    values[row] = value
    return GOOD.with_columns(pl.Series(column, values, GOOD.schema[column]))


def ids(*runs):
    names = [name for name, count in runs for _ in range(count)]
    values = [340.0] * len(names)
    return pl.DataFrame({"unique_id": names, "co2": values})


@pytest.mark.parametrize(
    ("frame", "place", "says"),
    [
        (GOOD.drop("unique_id"), "column 'unique_id'", "missing"),
        (GOOD.drop("co2"), "column 'co2'", "missing"),
        (changed(extra=pl.lit(1)), "column 'extra'", "unknown"),
        (changed(co2=pl.lit("1")), "column 'co2'", "expected numbers, got"),
        (changed(co2=pl.lit(value=True)), "column 'co2'", "got bool"),
        (changed(co2=pl.lit(None)), "column 'co2'", "got null"),
        (changed(co2=pl.lit(date(2020, 1, 1))), "column 'co2'", "got date32"),
        (changed(unique_id=pl.lit(1.5)), "unique_id", "strings or integers, got double"),
        (changed(unique_id=pl.lit(None)), "unique_id", "got null"),
        (changed(unique_id=pl.concat_list("unique_id")), "unique_id", "got large_list"),
        (at(3, None, "unique_id"), "unique_id[3]", "got null"),
        (ids(("x" * 257, 30)), "the table", "texts of at most 256 bytes, got 257"),
        (GOOD.clear(), "unique_id", "expected 1 to 64 series, got 0"),
        (ids(*((f"s{n}", 26) for n in range(65))), "unique_id", "1 to 64 series, got 65"),
        (ids(("a", 26), ("b", 26), ("a", 26)), "unique_id 'a'", "comes back in row 52"),
        (ids(("a", 26), ("b", 25)), "unique_id 'b'", "expected 26 to 104 steps, got 25"),
        (ids((7, 105)), "unique_id 7", "expected 26 to 104 steps, got 105"),
        (ids(("a", 64 * 104 + 1)), "the table", "at most 6656 rows"),
        (at(33, float("inf")), "unique_id 'b', co2[3]", "range of float32"),
        (at(33, -1e39), "unique_id 'b', co2[3]", "range of float32"),
        (
            long({"a": weeks(30), "b": [None] * 26}),
            "unique_id 'b'",
            "every value is missing",
        ),
        (changed(ds=pl.lit("2020")), "ds", "expected timestamps or dates"),
        (changed(ds=pl.lit(1)), "ds", "expected timestamps or dates, got int32"),
        (at(33, None, "ds"), "unique_id 'b', ds[3]", "got null"),
        (at(33, GOOD["ds"][32], "ds"), "unique_id 'b', ds[3]", "a later time"),
        (at(56, LAST, "ds"), "unique_id 'b', ds[26]", "a time 1w after the one before"),
        (GOOD.filter(pl.int_range(57) != 35), "unique_id 'b', ds[5]", "a row with null"),
        (changed(ds=pl.lit(START) + pl.int_range(57) * DAY), "unique_id 'a', ds[1]", "1w after"),
        (
            changed(ds=pl.when(B).then(pl.col("ds") + (LAST - GOOD["ds"][56])).otherwise("ds")),
            "unique_id 'b', ds",
            "leave the calendar",
        ),
        (
            changed(ds=pl.col("ds").dt.replace_time_zone("Europe/Berlin")),
            "ds",
            "in UTC or without a time zone",
        ),
    ],
)
async def test_a_table_that_does_not_fit_is_refused_with_its_place(
    service: Service, frame, place, says
):
    answer = await send(service, stream(frame))
    problem = answer.json()
    assert answer.status_code == 422, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"].startswith(f"{place}: ")
    assert says in problem["detail"]
    assert len(answer.content) < 4096
    assert (await send(service, SENT)).status_code == 200


async def test_a_missing_value_is_refused_where_the_card_does_not_allow_it(service: Service):
    found = (await service.client.get(f"/v1/models/{ATTENTION}/card")).json()["features"][0]
    frame = at(33, None).rename({"co2": found})
    answer = await send(service, stream(frame), ATTENTION)
    assert answer.status_code == 422
    assert f"unique_id 'b', {found}[3]: a missing value" in answer.json()["detail"]


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("kind", [pl.String, pl.Categorical])
async def test_compressed_buffers_are_refused(service: Service, compression, kind):
    sent = stream(changed(unique_id=pl.col("unique_id").cast(kind)), compression=compression)
    answer = await send(service, sent)
    assert answer.status_code == 422
    assert "compressed; send them uncompressed" in answer.json()["detail"]


def written(batches, **options) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, batches[0].schema, options=ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def tagged(names, kind=pa.string()):  # noqa: B008  immutable
    dictionary = pa.DictionaryArray.from_arrays(
        pa.array([0] * 26, pa.int8()), pa.array(names, kind)
    )
    return pa.record_batch({"unique_id": dictionary, "co2": np.full(26, 340.0)})


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (written([tagged(["a"]), tagged(["a", "b"])], emit_dictionary_deltas=True), "grows"),
        (written([tagged(["a" * 100_000])] * 2), "at most 256 bytes"),
        (written([tagged([None])]), "unique_id[0]: expected an id, got null"),
        (
            written([pa.record_batch([[1.0], [2.0], ["a"]], names=["co2", "co2", "unique_id"])]),
            "column 'co2': is there twice",
        ),
    ],
    ids=["delta", "long", "null", "twice"],
)
async def test_streams_made_to_cost_more_than_they_weigh_are_refused(service: Service, sent, says):
    answer = await send(service, sent)
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["detail"]


def views(count, length, kind):
    """Return a table whose every id is a view of one text; pyarrow writes such a text once."""
    text = b"x" * length
    each = np.array([length, int.from_bytes(text[:4], "little"), 0, 0], "<i4")
    buffers = [None, pa.py_buffer(np.tile(each, count)), pa.py_buffer(text)]
    names = pa.Array.from_buffers(pa.string_view(), count, buffers)
    if kind == "dictionary":
        names = pa.DictionaryArray.from_arrays(pa.array(range(count), pa.int16()), names)
    return written([pa.record_batch({"unique_id": names, "co2": np.full(count, 340.0)})])


@pytest.mark.timeout(10)  # reading a gigabyte takes longer
@pytest.mark.parametrize("kind", ["view", "dictionary"])
async def test_many_views_of_one_long_text_are_not_read(kind):
    async with running(SMALL.model_copy(update={"max_body_bytes": 2**25})) as service:
        answer = await send(service, views(6000, 2**24, kind))
        assert "at most 256 bytes, got 16777216" in answer.json()["detail"]
        assert read(await send(service, views(30, 256, kind)))["unique_id"][0] == "x" * 256


async def test_many_batches_are_refused_and_fewer_with_a_large_dictionary():
    names = [f"{number:0200}" for number in range(2000)]
    many, large = written([tagged(["a"])] * 1100), written([tagged(names)] * 400)
    async with running(SMALL.model_copy(update={"max_body_bytes": 2**24})) as service:
        for sent in (many, large):
            answer = await send(service, sent)
            assert answer.status_code == 422
            assert "at most 1024 messages, and fewer with a large" in answer.json()["detail"]


@pytest.mark.parametrize(
    "sent",
    [b"", b"{}", b"\xff" * 64, SENT[:100], SENT[:-40], SENT + b"more", b"ARROW1\0\0" + SENT],
    ids=range(7),
)
async def test_what_is_no_stream_gets_400(service: Service, sent):
    answer = await send(service, sent)
    assert answer.status_code == 400, answer.text
    assert answer.json()["type"] == "urn:seqserve:problem:malformed-request"


async def test_a_body_over_the_limit_is_refused(service: Service):
    assert (await send(service, b" " * 300_000)).status_code == 413


async def test_dates_cannot_hold_hours_and_json_has_what_a_table_has_not(tmp_path):
    hourly = card(name="hourly")
    known = card(name="known", features=("load", "holiday"), known=("holiday",))
    odd = card(name="odd", features=("load", "ds"))
    for each in (hourly, known, odd):
        Repository(tmp_path).publish(each.name, Graph(each).write)
    days = np.datetime64("2020-01-01") + np.arange(5)
    sent = stream(pl.DataFrame({"unique_id": ["a"] * 5, "ds": days, "load": range(5)}))
    async with running(SMALL.model_copy(update={"models": tmp_path})) as service:
        for name, says in (
            ("hourly", "ds: a date cannot hold steps of 1h; send timestamps"),
            ("known", "(holiday), for which a table has no place; send application/json"),
            ("odd", "has a feature ds; send application/json"),
        ):
            answer = await send(service, sent, name)
            assert answer.status_code == 422
            assert says in answer.json()["detail"]


def spoilt(chance: random.Random, sent: bytes) -> bytes:
    """Flip bits, cut, and write other numbers where lengths and offsets may be."""
    out = bytearray(sent)
    for _ in range(chance.choice((1, 1, 2, 4))):
        kind, place = chance.randrange(5), chance.randrange(len(out) - 8)
        if kind == 0:
            out[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            value = chance.choice((0, 1, -1, 7, 2**31 - 1, -(2**31), 2**20))
            struct.pack_into("<i", out, place & ~3, value)
        elif kind == 2:
            value = chance.choice((0, 1, -1, 2**32, 2**40, 2**62, -(2**63), 2**63 - 1))
            struct.pack_into("<q", out, place & ~7, value)
        elif kind == 3:
            del out[place : place + chance.randrange(1, 32)]
        elif chance.random() < 0.3:
            del out[max(place, 16) :]
        if len(out) < 16:
            break
    return bytes(out)


async def test_no_mutated_stream_gets_a_5xx_or_changes_what_a_good_one_gets(service: Service):
    chance = random.Random(1)  # noqa: S311  the same streams each time
    category = GOOD.with_columns(pl.col("unique_id").cast(pl.Categorical))
    plain = stream(GOOD, compat_level=pl.CompatLevel.oldest())
    seeds = [
        SENT,
        stream(category),
        plain,
        stream(GOOD, compression="lz4"),
        stream(GOOD.drop("ds")),
    ]
    expected = read(await send(service, SENT))
    statuses = set()
    for _ in range(2000):
        answer = await send(service, spoilt(chance, chance.choice(seeds)))
        assert answer.status_code in (200, 400, 422), answer.text
        statuses.add(answer.status_code)
    assert statuses == {200, 400, 422}
    assert read(await send(service, SENT)).equals(expected)


async def test_parameters_of_the_media_type_do_not_matter_and_other_types_are_told_both(
    service: Service,
):
    path = "/v1/models/co2-gru/predict"
    kind = {"content-type": f"{ARROW['content-type'].upper()}; x=1"}
    assert (await service.client.post(path, content=SENT, headers=kind)).status_code == 200
    answer = await service.client.post(path, content=SENT, headers={"content-type": "text/plain"})
    assert answer.headers["accept"] == f"application/json, {ARROW['content-type']}"
