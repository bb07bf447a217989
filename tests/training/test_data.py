"""What reading a table promises: regular series, or a refusal that says where and what to do."""

import gzip
import hashlib
import re
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from training.data import Series, Table, read_table
from training.errors import DataError, TrainingError
from training.recipe import DataRecipe
from training.sources import read

START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = [f"2024-01-01T{hour:02}:00:00" for hour in range(24)]
GAP = ["2024-01-01T00:00", "2024-01-01T01:00", "2024-01-01T04:00", "2024-01-01T05:00"]


def recipe(source, **changes) -> DataRecipe:
    plain = {"source": str(source), "time": "ds", "targets": ["y"], "frequency": "1h"}
    return DataRecipe.model_validate(plain | changes)


def csv(folder, text: str):
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def table(folder, text: str, **changes) -> Table:
    return read_table(recipe(csv(folder, text), **changes))


def only(read: Table) -> Series:
    (series,) = read.series
    return series


def column(times, values=None) -> str:
    """Write a CSV of ``ds`` and ``y``; without values, y counts the rows."""
    values = range(len(times)) if values is None else values
    return "ds,y\n" + "".join(f"{t},{y}\n" for t, y in zip(times, values, strict=True))


def moments(series: Series) -> list[str]:
    return [str(each)[:16] for each in series.times]


def y(series: Series) -> list[float]:
    return series.values[:, 0].tolist()


def test_csv_its_gzip_and_parquet_hold_the_same_table(tmp_path):
    text = column(HOURS, np.arange(24) / 7)
    plain = csv(tmp_path, text)
    packed, typed = tmp_path / "table.csv.gz", tmp_path / "table.parquet"
    packed.write_bytes(gzip.compress(text.encode()))
    times = [START.replace(tzinfo=None) + timedelta(hours=hour) for hour in range(24)]
    pl.DataFrame({"ds": times, "y": np.arange(24) / 7}).write_parquet(typed)
    tables = [read_table(recipe(path)) for path in (plain, packed, typed)]
    for each, path in zip(tables, (plain, packed, typed), strict=True):
        assert each.source == str(path)
        assert each.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (each.rows, each.columns, each.missing) == (24, ("y",), False)
        series = only(each)
        assert series.values.dtype == np.float32
        assert np.array_equal(series.values, only(tables[0]).values)
        assert np.array_equal(series.times, only(tables[0]).times)
    np.testing.assert_allclose(y(only(tables[0])), np.arange(24) / 7, rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [("\n", "\r\n"), ("ds", "\ufeffds"), (":00,", ":00 , "), (",0\n", ",+0e0\n")],
    ids=["windows", "byte order mark", "spaces", "another zero"],
)
def test_what_other_programs_write_around_a_value_does_no_harm(tmp_path, change):
    text = column(HOURS).replace(*change)
    assert text != column(HOURS)
    assert y(only(table(tmp_path, text))) == list(range(24))


def test_a_long_table_holds_several_series_in_any_order_of_rows(tmp_path):
    lines = [f"{time},{shop},{hour + 100 * number}" for number, shop in enumerate("abc")
             for hour, time in enumerate(HOURS[number:])]  # fmt: skip
    np.random.default_rng(1).shuffle(lines)
    found = table(tmp_path, "\n".join(["ds,shop,y", *lines]), id="shop")
    assert [series.id for series in found.series] == ["a", "b", "c"]
    assert found.rows == 24 + 23 + 22
    for number, series in enumerate(found.series):
        assert moments(series) == [time[:16] for time in HOURS[number:]]
        assert y(series) == [hour + 100 * number for hour in range(24 - number)]


def test_columns_come_as_targets_features_and_known_and_no_others(tmp_path):
    head, *rows = column(HOURS).splitlines()
    text = "\n".join(["k,b,other,f," + head + ",a", *(f"4,2,x,3,{row},1" for row in rows)])
    found = table(tmp_path, text, features=["f", "b"], known=["k"])
    assert found.columns == ("y", "f", "b", "k")
    assert only(found).values[5].tolist() == [5, 3, 2, 4]


def test_an_id_of_numbers_is_kept_as_text(tmp_path):
    text = "ds,n,y\n2024-01-01,10,1\n2024-01-01,9,2\n"
    assert [series.id for series in table(tmp_path, text, id="n").series] == ["10", "9"]


@pytest.mark.parametrize(
    ("name", "rows", "first"), [("co2", 2284, "1958-03-29"), ("elnino", 732, "1950-01-01")]
)
def test_the_series_that_statsmodels_ships_can_be_read(name, rows, first):
    frequency = {"co2": "1w", "elnino": "1mo"}[name]
    target = {"co2": "co2", "elnino": "temperature"}[name]
    found = read_table(recipe(f"statsmodels:{name}", targets=[target], frequency=frequency))
    assert found.rows == rows
    assert moments(only(found))[0].startswith(first)
    assert found.missing is (name == "co2")


def test_the_hash_is_of_the_content_and_not_of_the_name(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text(column(HOURS))
    second.write_text(column(HOURS))
    assert read(str(first)).sha256 == read(str(second)).sha256
    second.write_text(column(HOURS, range(1, 25)))
    assert read(str(first)).sha256 != read(str(second)).sha256


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("2024-03-10", "2024-03-10T00:00"),
        ("2024-03-10 08:00", "2024-03-10T08:00"),
        ("2024-03-10T08:00", "2024-03-10T08:00"),
        ("2024-03-10 08:00:00", "2024-03-10T08:00"),
        ("2024-03-10T08:00:00", "2024-03-10T08:00"),
        ("2024-03-10T08:00:00.000", "2024-03-10T08:00"),
        ("2024-03-10T08:00:00Z", "2024-03-10T08:00"),
        ("2024-03-10T08:00Z", "2024-03-10T08:00"),
        ("2024-03-10T08:00:00.000Z", "2024-03-10T08:00"),
        ("2024-03-10T08:00:00+00:00", "2024-03-10T08:00"),
        ("2024-03-10 08:00:00+00:00", "2024-03-10T08:00"),  # as pandas writes it
        ("2024-03-10T08:00:00+02:00", "2024-03-10T06:00"),
        ("2024-03-10T08:00:00+0200", "2024-03-10T06:00"),
        ("2024-03-10 08:00-05:30", "2024-03-10T13:30"),
        ("2024-03-10T23:00:00-05:00", "2024-03-11T04:00"),
        (" 2024-03-10T08:00:00 ", "2024-03-10T08:00"),
        ('"2024-03-10T08:00:00"', "2024-03-10T08:00"),
    ],
)
def test_a_time_may_be_written_in_many_ways_and_is_utc_without_a_zone(tmp_path, written, utc):
    text = f"ds,id,y\n{written},a,1\n2024-02-01,b,2\n"
    found = table(tmp_path, text, id="id")
    assert moments(found.series[0]) == [utc]


def test_ways_to_write_a_time_may_be_mixed(tmp_path):
    times = ["2024-01-01", "2024-01-01 01:00", "2024-01-01T02:00:00Z", "2024-01-01T05:00:00+02:00"]
    assert moments(only(table(tmp_path, column(times)))) == [time[:16] for time in HOURS[:4]]


@pytest.mark.parametrize(
    "times",
    [
        [START + timedelta(hours=hour) for hour in range(3)],
        [START.replace(tzinfo=None) + timedelta(hours=hour) for hour in range(3)],
        pl.Series([START + timedelta(hours=hour) for hour in range(3)]).dt.convert_time_zone(
            "America/New_York"
        ),
        pl.Series([START + timedelta(hours=hour) for hour in range(3)]).dt.cast_time_unit("ns"),
        pl.Series([START + timedelta(hours=hour) for hour in range(3)]).dt.cast_time_unit("ms"),
        HOURS[:3],
    ],
    ids=["utc", "naive", "new york", "nanoseconds", "milliseconds", "text"],
)
def test_parquet_may_hold_times_of_any_kind(tmp_path, times):
    path = tmp_path / "table.parquet"
    pl.DataFrame({"ds": times, "y": [1, 2, 3]}).write_parquet(path)
    assert moments(only(read_table(recipe(path)))) == [time[:16] for time in HOURS[:3]]


def test_parquet_may_hold_dates(tmp_path):
    path = tmp_path / "table.parquet"
    days = [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]
    pl.DataFrame({"ds": days, "y": [1, 2, 3]}).write_parquet(path)
    found = only(read_table(recipe(path, frequency="1d")))
    assert moments(found) == [f"{day}T00:00" for day in days]


def test_hours_around_a_change_of_clocks_are_regular_if_their_offset_is_written(tmp_path):
    autumn = ["2024-10-27T01:00:00+02:00", "2024-10-27T02:00:00+02:00",
              "2024-10-27T02:00:00+01:00", "2024-10-27T03:00:00+01:00"]  # fmt: skip
    assert y(only(table(tmp_path, column(autumn)))) == [0, 1, 2, 3]
    spring = ["2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00"]
    assert moments(only(table(tmp_path, column(spring)))) == [
        "2024-03-31T00:00",
        "2024-03-31T01:00",
    ]


def test_local_hours_around_a_change_of_clocks_are_refused_if_their_offset_is_lost(tmp_path):
    autumn = ["2024-10-27T01:00", "2024-10-27T02:00", "2024-10-27T02:00", "2024-10-27T03:00"]
    with pytest.raises(DataError, match="row 4, column 'ds': 2024-10-27T02:00:00 comes twice"):
        table(tmp_path, column(autumn))
    spring = ["2024-03-31T01:00", "2024-03-31T03:00"]
    with pytest.raises(DataError, match="row 3, column 'ds': 1 row is missing between"):
        table(tmp_path, column(spring))


@pytest.mark.parametrize(
    ("frequency", "times"),
    [
        ("15min", ["2024-01-01T23:45", "2024-01-02T00:00", "2024-01-02T00:15"]),
        ("90min", ["2024-01-01T00:00", "2024-01-01T01:30", "2024-01-01T03:00"]),
        ("1d", ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("1w", ["2024-02-24", "2024-03-02", "2024-03-09"]),
        ("1mo", ["2023-12-01", "2024-01-01", "2024-02-01"]),
        ("1mo", ["2023-12-15T06:00", "2024-01-15T06:00", "2024-02-15T06:00"]),
        ("1mo", ["2023-01-31", "2023-02-28", "2023-03-31"]),
        ("1me", ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]),
        ("1q", ["2023-10-01", "2024-01-01", "2024-04-01"]),
        ("2mo", ["2023-11-01", "2024-01-01", "2024-03-01"]),
        ("1y", ["2023-01-01", "2024-01-01", "2025-01-01"]),
        ("1y", ["0001-01-01", "0002-01-01", "0003-01-01"]),
    ],
)
def test_steps_may_be_fixed_or_of_the_calendar(tmp_path, frequency, times):
    found = only(table(tmp_path, column(times), frequency=frequency))
    assert moments(found) == [time if "T" in time else f"{time}T00:00" for time in times]
    assert y(found) == list(range(len(times)))


def test_centuries_of_years_do_not_run_past_the_last_year_there_is(tmp_path):
    times = [f"{year:04}-01-01" for year in range(1200, 2000)]
    assert len(only(table(tmp_path, column(times), frequency="1y")).times) == 800
    times = ["9998-12-01", "9999-01-01", "9999-12-01"]
    filled = only(table(tmp_path, column(times), frequency="1mo", fill="linear"))
    np.testing.assert_allclose(y(filled), [0, *np.linspace(1, 2, 12)], rtol=1e-6)


def test_a_month_left_out_is_a_gap_and_a_day_too_late_is_irregular(tmp_path):
    with pytest.raises(DataError, match=r"row 4, .* 1 row is missing between 2024-02-01"):
        table(tmp_path, column(["2024-01-01", "2024-02-01", "2024-04-01"]), frequency="1mo")
    with pytest.raises(DataError, match=r"row 3, .* is not a whole number of 1mo steps"):
        table(tmp_path, column(["2024-01-01", "2024-02-02", "2024-03-01"]), frequency="1mo")


CONSTANT = column(HOURS, [3] * 24)
# table, changes to the recipe, row, column, problem, advice
BAD = {
    "a time that comes twice": (
        column([*HOURS[:4], HOURS[2]]), {}, 6, "ds",
        r"2024-01-01T02:00:00 comes twice, first in row 4",
        "Keep one row for each time, or name .*--id",
    ),
    "a time that comes twice in a series": (
        f"ds,id,y\n{HOURS[0]},a,1\n{HOURS[0]},b,2\n{HOURS[0]},a,3\n", {"id": "id"}, 4, "ds",
        "comes twice, first in row 2", "Keep one row for each time of a series",
    ),
    "several series and no id": (
        f"ds,id,y\n{HOURS[0]},a,1\n{HOURS[0]},b,2\n", {}, 3, "ds", "comes twice", r"--id \(id = ",
    ),
    "a time off the grid": (
        column([*HOURS[:3], "2024-01-01T02:30:00"]), {}, 5, "ds",
        "2024-01-01T02:30:00 is not a whole number of 1h steps after 2024-01-01T00:00:00",
        "Give the frequency the table really has, or resample",
    ),
    "the wrong frequency": (
        column(HOURS), {"frequency": "1d"}, 3, "ds", "not a whole number of 1d steps", "frequency",
    ),
    "local days": (
        column([f"2022-03-{day}T00:00:00+0{zone}:00" for day, zone in ((26, 1), (27, 1), (28, 2))]),
        {"frequency": "1d"}, 4, "ds", "2022-03-27T22:00:00 is not a whole", "as dates",
    ),
    "a name twice": ("ds,y,y\n2022-03-26,1,2\n", {}, 1, "y", "two columns have", "Rename"),
    "a gap": (
        column(GAP), {}, 4, "ds",
        (r"2 rows are missing between 2024-01-01T01:00:00 and 2024-01-01T04:00:00 "
        r"\(2 in all of this series\)"),
        "--fill missing, previous or linear",
    ),
    "a time that is none": (
        column([HOURS[0], "yesterday"]), {}, 3, "ds", "'yesterday' is not a time", "ISO 8601",
    ),
    "a day before the month": (
        column(["01/02/2024"]), {}, 2, "ds", "'01/02/2024' is not a time", "ISO 8601",
    ),
    "a day that never was": (
        column(["2023-02-29"]), {}, 2, "ds", "'2023-02-29' is not a time", "ISO 8601",
    ),
    "no time": (f"ds,y\n{HOURS[0]},1\n,2\n", {}, 3, "ds", "an empty cell is not a time", "ISO"),
    "an empty line": (f"ds,y\n{HOURS[0]},1\n\n{HOURS[1]},2\n", {}, 3, "ds", "not a time", "ISO"),
    "text for a number": (
        column(HOURS[:3], [1, "many", 2]), {}, 3, "y",
        "'many' is not a number", "leave the cell empty",
    ),
    "a decimal comma": (
        column(HOURS[:2], ['"1,5"', 2]), {}, 2, "y", "'1,5' is not a number", "Write a number",
    ),
    "text in a feature": (
        f"ds,y,f\n{HOURS[0]},1,0\n{HOURS[1]},2,on\n", {"features": ["f"]}, 3, "f",
        "'on' is not a number", "Write a number",
    ),
    "text in a long row": (
        column(HOURS[:2], [1, "x" * 500]), {}, 3, "y", "'x{40}' is not a number", "Write a number",
    ),
    "a number too large": (
        column(HOURS[:2], [1, "1e39"]), {}, 3, "y", "'1e39' is not .* float32", "Write a number",
    ),
    "infinity": (column(HOURS[:2], [1, "-inf"]), {}, 3, "y", "'-inf' is not", "Write a number"),
    "a constant target": (
        CONSTANT, {}, None, "y", "the target is 3 in every row, so there is nothing to learn",
        "Choose another target",
    ),
    "a constant target with holes": (
        column(HOURS[:3], [3, "", 3]), {}, None, "y", "the target is 3 in every row", "Choose",
    ),
    "a target without values": (
        column(HOURS[:3], ["", "nan", ""]), {}, None, "y", "the target has no values", "Fill it in",
    ),
    "a second constant target": (
        f"ds,y,z\n{HOURS[0]},1,5\n{HOURS[1]},2,5\n", {"targets": ["y", "z"]}, None, "z",
        "the target is 5 in every row", "leave this one out",
    ),
    "a misspelt column": (
        column(HOURS).replace("ds,y", "ds,sales"), {"targets": ["sale"]}, None, "sale",
        "there is no such column", r"Did you mean 'sales'\? The columns are: ds, sales\.",
    ),
    "a column like no other": (
        column(HOURS), {"known": ["holiday"]}, None, "holiday", "no such column",
        r"\A *The columns are: ds, y\.",
    ),
    "a misspelt time": (
        column(HOURS), {"time": "Ds"}, None, "Ds", "no such column", "Did you mean 'ds'",
    ),
    "a misspelt id": (column(HOURS), {"id": "shop"}, None, "shop", "no such column", "columns are"),
    "bars": (
        column(HOURS).replace(",", "|"), {}, None, "ds", "no such column", "are: ds\\|y",
    ),
    "nothing at all": ("", {}, None, None, "is not a table: empty", "with a header line"),
    "a header alone": ("ds,y\n", {}, None, None, "the table has no rows", "at least one series"),
    "a cell too many": (
        column([HOURS[0], f"{HOURS[1]},7"]), {}, 3, None,
        "the row has 3 cells, the header 2", "numbers with a decimal point",
    ),
    "no id": (
        f"ds,id,y\n{HOURS[0]},a,1\n{HOURS[1]},,2\n", {"id": "id"}, 3, "id",
        "the row names no series", "Fill the column, or drop the row",
    ),
    "a blank id": (
        f'ds,id,y\n{HOURS[0]},a,1\n{HOURS[1]}," ",2\n', {"id": "id"}, 3, "id",
        "the row names no series", "Fill the column",
    ),
    "a quoted empty id": (
        f'ds,id,y\n{HOURS[0]},"",1\n', {"id": "id"}, 2, "id", "names no series", "Fill the column",
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_table_is_refused_by_file_row_and_column_and_with_advice(tmp_path, bad):
    text, changes, row, where, problem, advice = bad
    path = csv(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_table(recipe(path, **changes))
    error = caught.value
    assert (error.source, error.row, error.column) == (str(path), row, where)
    first, second = str(error).split("\n")
    place = [str(path), *([f"row {row}"] if row else []), *([f"column {where!r}"] if where else [])]
    assert first.startswith(", ".join(place) + ": ")
    assert re.search(problem, first)
    assert re.search(advice, second)
    assert isinstance(error, TrainingError)


def test_rows_are_counted_as_the_file_has_them_and_not_in_the_order_of_time(tmp_path):
    times = HOURS[:6][::-1]
    values = [5, 4, 3, "three", 1, 0]
    with pytest.raises(DataError, match="row 5, column 'y': 'three'"):
        table(tmp_path, column(times, values))
    with pytest.raises(DataError, match=r"row 7, column 'ds': .* comes twice, first in row 3"):
        table(tmp_path, column([*times[:5], times[1]]))


def test_text_that_is_not_utf8_is_refused_by_its_row_and_not_for_a_missing_column(tmp_path):
    path = tmp_path / "table.csv"
    for row, content in ((1, "ds,y,größe\n"), (2, f"ds,y,note\n{HOURS[0]},1,groß\n")):
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(
            DataError, match=rf"row {row}: .* is not UTF-8\n  Save it as CSV in UTF-8"
        ):
            read_table(recipe(path))


def test_parquet_is_known_by_its_content_whatever_its_name(tmp_path):
    path = tmp_path / "table.pq"
    pl.DataFrame({"ds": HOURS[:3], "y": [1.0, 2.0, 3.0]}).write_parquet(path)
    assert y(only(read_table(recipe(path)))) == [1, 2, 3]


@pytest.mark.parametrize(
    ("frequency", "written"),
    [("1mo", ["1949-01", "1949-02", "1949-03"]), ("1y", ["1949", "1950", "1951"])],
)
def test_a_month_or_a_year_may_stand_alone_as_iso_8601_allows(tmp_path, frequency, written):
    series = only(table(tmp_path, column(written), frequency=frequency))
    assert moments(series)[0] == "1949-01-01T00:00"
    assert len(series.times) == 3


def test_rows_of_parquet_count_from_one(tmp_path):
    path = tmp_path / "table.parquet"
    pl.DataFrame({"ds": HOURS[:3], "y": ["1", "x", "3"]}).write_parquet(path)
    with pytest.raises(DataError, match="row 2, column 'y': 'x' is not a number"):
        read_table(recipe(path))


@pytest.mark.parametrize(
    "values",
    [
        [date(2024, 1, 1), date(2024, 1, 2)],
        [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)],
        [timedelta(days=1), timedelta(days=2)],
        [[1.0], [2.0]],
        [{"a": 1}, {"a": 2}],
        [b"one", b"two"],
        pl.Series(["low", "high"], dtype=pl.Categorical),
        ["1.0 m", "2.0 m"],
    ],
    ids=["date", "time", "duration", "list", "struct", "bytes", "category", "text"],
)
def test_no_column_of_another_type_is_made_a_number_behind_your_back(tmp_path, values):
    path = tmp_path / "table.parquet"
    pl.DataFrame({"ds": HOURS[:2], "y": values}).write_parquet(path)
    with pytest.raises(DataError, match=r"row 1, column 'y': .* is not a number"):
        read_table(recipe(path))


@pytest.mark.parametrize(
    "values",
    [
        [1, 2],
        [True, False],
        ["True", "false"],
        [1.0, 2.0],
        ["1", " 2e0 "],
        pl.Series([1, 2], dtype=pl.Decimal(10, 2)),
    ],
    ids=["integers", "booleans", "truths", "floats", "texts", "decimals"],
)
def test_every_type_that_holds_numbers_is_read(tmp_path, values):
    path = tmp_path / "table.parquet"
    pl.DataFrame({"ds": HOURS[:2], "y": values}).write_parquet(path)
    assert y(only(read_table(recipe(path)))) in ([1, 2], [1, 0])


@pytest.mark.parametrize(
    "times", [[1, 2], [2023, 2024], [1.5, 2.5], [[1], [2]], [True, False]], ids=repr
)
def test_numbers_are_not_taken_for_times(tmp_path, times):
    path = tmp_path / "table.parquet"
    pl.DataFrame({"ds": times, "y": [1, 2]}).write_parquet(path)
    with pytest.raises(DataError, match=r"row 1, column 'ds': .* is not a time"):
        read_table(recipe(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("table.csv.gz", gzip.compress(column(HOURS).encode(), mtime=0)[:60]),
        ("table.csv.gz", b"\x1f\x8bnot a gzip"),
        ("table.parquet", b"PAR1 and nothing more"),
        ("table.parquet", b""),
    ],
    ids=["half a gzip", "no gzip", "no parquet", "empty parquet"],
)
def test_a_broken_file_is_refused_by_its_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is not a table: .+\n  Write it as CSV") as caught:
        read_table(recipe(path))
    assert caught.value.source == str(path)


def test_a_missing_file_is_refused_by_its_name(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot be read: No such file .*\n  Check"):
        read_table(recipe(tmp_path / "none.csv"))
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_table(recipe(tmp_path))


def test_statsmodels_is_asked_only_for_what_it_ships():
    with pytest.raises(DataError, match=r"statsmodels:sunspots: .*\n  Use statsmodels:co2"):
        read_table(recipe("statsmodels:sunspots"))


def test_a_target_that_is_constant_in_each_series_alone_is_kept(tmp_path):
    text = f"ds,id,y\n{HOURS[0]},a,1\n{HOURS[0]},b,2\n"
    assert len(table(tmp_path, text, id="id").series) == 2


def test_a_constant_feature_is_kept(tmp_path):
    text = f"ds,y,f\n{HOURS[0]},1,5\n{HOURS[1]},2,5\n"
    assert only(table(tmp_path, text, features=["f"])).values[:, 1].tolist() == [5, 5]


@pytest.mark.parametrize("empty", ["", '""', "NaN", "nan", "NA", "null", " "])
def test_an_empty_cell_is_a_missing_value(tmp_path, empty):
    found = table(tmp_path, column(HOURS[:3], [1, empty, 3]))
    assert found.missing
    assert np.isnan(only(found).values[1, 0])
    assert only(found).values[[0, 2], 0].tolist() == [1, 3]


def test_missing_values_of_parquet_are_missing(tmp_path):
    path = tmp_path / "table.parquet"
    pl.DataFrame({"ds": HOURS[:4], "y": [1.0, None, float("nan"), 4.0]}).write_parquet(path)
    found = read_table(recipe(path))
    assert found.missing
    assert np.isnan(y(only(found))).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ("missing", [0, 3, np.nan, np.nan, 9, 1]),
        ("previous", [0, 3, 3, 3, 9, 1]),
        ("linear", [0, 3, 5, 7, 9, 1]),
    ],
)
def test_gaps_are_filled_only_when_asked_for(tmp_path, fill, expected):
    text = column(GAP, [0, 3, 9, 1])
    with pytest.raises(DataError, match="2 rows are missing"):
        table(tmp_path, text)
    found = table(tmp_path, text, fill=fill)
    np.testing.assert_allclose(y(only(found)), expected)
    assert moments(only(found)) == [time[:16] for time in HOURS[:6]]
    assert found.missing is (fill == "missing")
    assert found.rows == 4


def test_a_table_that_is_nearly_all_gaps_is_not_filled(tmp_path):
    text = column(["1970-01-01", "1970-01-02", "2024-01-01"])
    with pytest.raises(DataError, match=r"3 rows would be filled up to 1,704,067,201 steps of 1s"):
        table(tmp_path, text, frequency="1s", fill="missing")


def test_filling_gaps_leaves_empty_cells_missing(tmp_path):
    text = column(GAP, ["", 3, 9, ""])
    found = only(table(tmp_path, text, fill="linear"))
    np.testing.assert_allclose(y(found), [np.nan, 3, 5, 7, 9, np.nan])


def test_every_column_and_every_series_is_filled_by_itself(tmp_path):
    rows = [f"{time},{name},{value},{-value}" for name, times in (("a", GAP), ("b", HOURS[:3]))
            for time, value in zip(times, [0, 2, 8, 10], strict=False)]  # fmt: skip
    text = "\n".join(["ds,id,y,f", *rows])
    first, second = table(tmp_path, text, id="id", features=["f"], fill="linear").series
    assert first.values.tolist() == [[v, -v] for v in (0, 2, 4, 6, 8, 10)]
    assert second.values.tolist() == [[v, -v] for v in (0, 2, 8)]


def test_months_left_out_are_filled_by_the_calendar(tmp_path):
    times = ["2023-11-30", "2023-12-31", "2024-02-29", "2024-05-31"]
    found = only(table(tmp_path, column(times), frequency="1me", fill="previous"))
    assert moments(found) == [
        f"{day}T00:00"
        for day in ("2023-11-30", "2023-12-31", "2024-01-31", "2024-02-29",
                    "2024-03-31", "2024-04-30", "2024-05-31")
    ]  # fmt: skip
    assert y(found) == [0, 1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize("fill", ["missing", "previous", "linear"])
def test_where_there_is_no_gap_filling_changes_nothing(tmp_path, fill):
    text = column(HOURS, ["", *range(23)])
    plain, filled = only(table(tmp_path, text)), only(table(tmp_path, text, fill=fill))
    assert np.array_equal(plain.values, filled.values, equal_nan=True)


@pytest.mark.parametrize("fill", ["missing", "previous", "linear"])
def test_filling_mends_neither_a_duplicate_nor_a_time_off_the_grid(tmp_path, fill):
    with pytest.raises(DataError, match="comes twice"):
        table(tmp_path, column([*HOURS[:3], HOURS[1]]), fill=fill)
    with pytest.raises(DataError, match="is not a whole number"):
        table(tmp_path, column([*HOURS[:3], "2024-01-01T02:10"]), fill=fill)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_tabs_and_blanks_in_the_header_are_understood(tmp_path, separator):
    plain, other = tmp_path / "plain.csv", tmp_path / "other.csv"
    plain.write_text(column(HOURS))
    header, *lines = column(HOURS).splitlines()
    spaced = header.replace(",", " , ")
    other.write_text("\n".join(line.replace(",", separator) for line in (spaced, *lines)))
    expected, found = (read_table(recipe(str(path))) for path in (plain, other))
    assert np.array_equal(found.series[0].values, expected.series[0].values)
    assert np.array_equal(found.series[0].times, expected.series[0].times)
