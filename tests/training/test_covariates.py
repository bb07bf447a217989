"""Calendar and static covariates: what a table yields, what is refused, what they are worth."""

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calendar import cycle_columns, cycle_features
from models.contract import ModelCard
from models.repository import Repository
from service.http.schemas.native import PredictQuery
from training.data import Table, read_table
from training.errors import DataError, RecipeError
from training.pipeline import train
from training.recipe import Recipe
from training.static import MOST_CATEGORIES
from training.windows import split

CYCLES = ("weekday", "month")
DAYS = 120
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
SHOPS = {"a": ("north", 2.5), "b": ("south", 1.0), "c": ("north", -3.0)}


def shops(folder, change=lambda frame: frame) -> str:
    """Write three series of a target, a feature and a covariate known ahead."""
    random = np.random.default_rng(0)
    parts = [
        pl.DataFrame(
            {
                "ds": [f"{FIRST + timedelta(days=day):%Y-%m-%d}" for day in range(DAYS)],
                "shop": [shop] * DAYS,
                "region": [region] * DAYS,
                "size": [size] * DAYS,
            }
            | {name: random.normal(size=DAYS) for name in ("y", "price", "open")}
        )
        for shop, (region, size) in SHOPS.items()
    ]
    path = folder / "shops.csv"
    change(pl.concat(parts)).write_csv(path)
    return str(path)


def recipe(source, **changes) -> Recipe:
    data = {
        "source": source,
        "time": "ds",
        "id": "shop",
        "targets": ["y"],
        "features": ["price"],
        "known": ["open"],
        "calendar": CYCLES,
        "static": ["size", "region"],
        "frequency": "1d",
    }
    document = {
        "name": "shops",
        "horizon": 4,
        "max_length": 9,
        "min_length": 2,
        "data": data | changes.pop("data", {}),
    }
    return Recipe.build(document | changes, "the test")


def read(folder, change=lambda frame: frame, **data) -> Table:
    return read_table(recipe(shops(folder, change), data=data).data)


def refused(folder, change, **data) -> DataError:
    with pytest.raises(DataError) as caught:
        read(folder, change, **data)
    return caught.value


def changed(column, row, value):
    """Return what writes a value into one row, counted from 0."""
    places = pl.int_range(pl.len()) == row

    def change(frame):
        texts = pl.col(column).cast(pl.String)
        return frame.with_columns(
            pl.when(places).then(pl.lit(value)).otherwise(texts).alias(column)
        )

    return change


def test_the_columns_are_targets_past_static_known_calendar(tmp_path):
    table = read(tmp_path)
    static = ("size", "region=north", "region=south")
    assert table.columns == ("y", "price", *static, "open", *cycle_columns(CYCLES))
    assert table.static == {"size": None, "region": ("north", "south")}
    assert [series.id for series in table.series] == list(SHOPS)
    for series in table.series:
        region, size = SHOPS[series.id]
        assert (series.values[:, 2:5] == [size, region == "north", region == "south"]).all()
        assert (series.values[:, 6:] == cycle_features(series.times, CYCLES)).all()


def test_what_is_made_is_there_where_rows_were_filled_in(tmp_path):
    table = read(tmp_path, lambda frame: frame.filter(pl.int_range(pl.len()) != 5), fill="missing")
    series = table.series[0]
    assert np.isnan(series.values[5]).tolist() == [True, True, *[False] * 3, True, *[False] * 4]
    assert (series.values[:, 6:] == cycle_features(series.times, CYCLES)).all()


def test_a_column_of_numbers_is_a_number_and_any_other_text_makes_categories(tmp_path):
    table = read(tmp_path, changed("size", 0, "2.50"))
    assert table.static["size"] is None
    texts = read(tmp_path, lambda frame: frame.with_columns(size=pl.col("size").cast(str) + " m"))
    assert texts.static["size"] == ("-3.0 m", "1.0 m", "2.5 m")


def test_the_name_of_the_series_may_be_a_category(tmp_path):
    assert read(tmp_path, static=["shop"]).static == {"shop": ("a", "b", "c")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed("region", DAYS + 3, "west"), ["row 125", "'region'", "'west'", "'south'", "'b'"]),
        (changed("size", 7, "9"), ["row 9", "'size'", "9.0", "2.5", "'a'", "row 2"]),
        (changed("region", 7, " "), ["row 9", "'region'", "the cell is empty"]),
        (changed("size", 7, "NA"), ["row 9", "'size'", "the cell is empty"]),
        (lambda frame: frame.drop("region"), ["'region'", "no such column"]),
    ],
)
def test_a_static_column_that_changes_or_is_empty_is_refused_with_its_place(
    tmp_path, change, words
):
    message = str(refused(tmp_path, change))
    for word in ("shops.csv", *words):
        assert word in message


def test_too_many_categories_are_refused(tmp_path):
    many = pl.int_range(pl.len()).cast(pl.String)
    singles = lambda frame: frame.with_columns(shop=many, region="r" + many)  # noqa: E731
    message = str(refused(tmp_path, singles, static=["region"]))
    assert f"there are {3 * DAYS} categories, more than {MOST_CATEGORIES}" in message


def test_a_category_cannot_take_the_name_of_a_column(tmp_path):
    rename = lambda frame: frame.rename({"price": "region=north"})  # noqa: E731
    assert "'region=north'" in str(refused(tmp_path, rename, features=["region=north"]))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"id": None}, "static columns tell series apart; name the series' column with id"),
        ({"calendar": ["hour"]}, "calendar: hour is the same at every step of 1d"),
        ({"calendar": ["fortnight"]}, "data.calendar.0: Input should be 'minute', 'hour'"),
        ({"calendar": ["month", "month"]}, "named twice"),
        ({"static": ["price"]}, "named twice"),
        ({"features": ["month_sin"]}, "named twice"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(data, says):
    with pytest.raises(RecipeError) as caught:
        recipe("none.csv", data=data)
    assert says in str(caught.value)


def card_of(plan: Recipe, table: Table) -> ModelCard:
    return ModelCard(
        name="shops",
        features=table.columns,
        targets=plan.data.targets,
        known=plan.data.ahead,
        calendar=plan.data.calendar,
        static=table.static,
        horizon=plan.horizon,
        quantiles=plan.quantiles,
        frequency=plan.data.frequency,
        max_length=plan.lengths[1],
    )


@cache
def windows(source):
    plan = recipe(source)
    table = read_table(plan.data)
    return plan, table, split(table, plan).train


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return shops(tmp_path_factory.mktemp("shops"))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_the_service_makes_what_the_network_was_trained_on_to_the_bit(source, number, length):
    plan, table, part = windows(source)
    rows = np.array([number % len(part)])
    lengths = np.minimum(part.available(rows), length)
    batch = part.batch(rows, lengths)
    card, sequence, future = card_of(plan, table), batch.sequences[0], batch.future[0]
    series = table.series[int(part.first[rows[0]] // DAYS)]
    region, size = SHOPS[series.id]
    body = {
        "values": sequence[:, [0, 1, 5]].tolist(),
        "future": future[:, :1].tolist(),
        "start": f"{part.clock[part.origins[rows[0]] - lengths[0] + 1]}Z",
        "static": {"size": size, "region": region},
    }
    (row,) = PredictQuery(orjson.dumps({"sequences": [body]}), card, 1).rows
    assert row.sequence.dtype == sequence.dtype
    assert (row.sequence == sequence).all()
    assert row.future is not None
    assert (row.future == future).all()


def quick(source, steps=3, **data) -> Recipe:
    """Return a plan so short that the history alone cannot tell the weekday."""
    plain = {"targets": ["y"], "features": [], "known": [], "calendar": [], "static": []}
    return recipe(
        source,
        horizon=2,
        max_length=steps,
        min_length=1,
        season=7,
        data=plain | data,
        network={"hidden": 16, "layers": 1, "normalisation": "last"},
        fit={"epochs": 12, "learning_rate": 1e-2, "accelerator": "cpu", "devices": 1},
    )


def trained(plan: Recipe, folder, name: str) -> ModelCard:
    named = plan.model_copy(update={"name": name})
    checkpoints = folder / "checkpoints"
    repository = Repository(folder)
    done = train(named, repository, checkpoints=checkpoints, progress=False, anyway=True)
    return done.card


def mae(card: ModelCard) -> float:
    assert card.accuracy is not None
    return card.accuracy.targets["y"].mae


def test_a_target_that_follows_the_weekday_is_forecast_far_better_with_the_calendar(tmp_path):
    busy = [0.0, 0.0, 9.0, 0.0, 0.0, 9.0, 0.0]
    noise = np.random.default_rng(1).normal(0, 0.3, 3 * DAYS)
    sales = [busy[(FIRST + timedelta(days=day % DAYS)).weekday()] for day in range(3 * DAYS)]
    path = shops(tmp_path, lambda frame: frame.with_columns(y=pl.Series(sales + noise)))
    without = trained(quick(path), tmp_path, "without")
    aware = trained(quick(path, calendar=["weekday"]), tmp_path, "aware")
    assert aware.calendar == ("weekday",)
    assert aware.known == ("weekday_sin", "weekday_cos")
    assert (aware.given, aware.given_known) == (("y",), ())
    assert mae(aware) < 0.6 * mae(without)


def test_series_that_only_their_region_tells_apart_are_forecast_better_with_it(tmp_path):
    noise = np.random.default_rng(2).normal(0, 0.3, 3 * DAYS)

    def change(frame):
        """Let the north rise and the south fall, which one step of history does not show."""
        ways = frame["region"].replace_strict({"north": 1.0, "south": -1.0}).to_numpy()
        return frame.with_columns(y=pl.Series(ways * np.tile(np.arange(DAYS), 3) + noise))

    path = shops(tmp_path, change)
    without = trained(quick(path, steps=1), tmp_path, "without")
    aware = trained(quick(path, steps=1, static=["region"]), tmp_path, "aware")
    assert aware.static == {"region": ("north", "south")}
    assert aware.features == ("y", "region=north", "region=south")
    assert (aware.given, aware.known) == (("y",), ())
    assert mae(aware) < 0.5 * mae(without)
