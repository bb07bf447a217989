"""What a recipe promises: to be read whole, or to be refused by the name of the wrong key."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

import training
from training.errors import RecipeError, TrainingError
from training.recipe import Recipe, SplitRecipe

_FOLDER = Path(training.__file__).parent / "recipes"
SHIPPED = sorted([*_FOLDER.glob("*.toml"), *(_FOLDER / "streams").glob("*.toml")])

WHOLE = """
name = "sales"
horizon = 7
max_length = 56
min_length = 14

[data]
source = "tables/sales.csv"
time = "day"
id = "shop"
targets = ["sold", "returned"]
features = ["visitors"]
known = ["open"]
frequency = "1D"
fill = "linear"
units = { sold = "pieces" }

[split]
validation = 0.2
test = 2024-01-01T00:00:00

[network]
kind = "lstm"
hidden = 16

[fit]
epochs = 3
clip_value = 0.5
"""


def document(**changes) -> dict:
    """Return the smallest recipe, changed: ``data={...}`` is merged, the rest replaced."""
    data = {"source": "t.csv", "time": "ds", "targets": ["y"], "frequency": "1h"}
    data |= changes.pop("data", {})
    return {"name": "small", "horizon": 4, "data": data} | changes


def read(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return Recipe.read(path)


def test_a_toml_file_becomes_one_value(tmp_path):
    recipe = read(tmp_path, WHOLE)
    assert (recipe.name, recipe.horizon, recipe.lengths) == ("sales", 7, (14, 56))
    assert recipe.data.columns == ("sold", "returned", "visitors", "open")
    assert (recipe.data.id, recipe.data.fill, recipe.data.frequency) == ("shop", "linear", "1d")
    assert recipe.data.units == {"sold": "pieces"}
    assert (recipe.network.kind, recipe.network.hidden) == ("lstm", 16)
    assert (recipe.fit.epochs, recipe.fit.clip_value, recipe.fit.clip_norm) == (3, 0.5, 1.0)


def test_a_recipe_cannot_be_changed_afterwards(tmp_path):
    with pytest.raises(ValidationError, match="frozen"):
        read(tmp_path, WHOLE).horizon = 8


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_can_be_read_and_is_called_as_its_file(path):
    recipe = Recipe.read(path)
    assert recipe.name == path.stem
    assert recipe.data.source.startswith("statsmodels:")


def test_recipes_are_shipped():
    assert len(SHIPPED) >= 3


@pytest.mark.parametrize(
    ("source", "resolved"),
    [
        ("t.csv", "{folder}/t.csv"),
        ("tables/t.parquet", "{folder}/tables/t.parquet"),
        ("/data/t.csv", "/data/t.csv"),
        ("statsmodels:co2", "statsmodels:co2"),
    ],
)
def test_a_relative_source_lies_beside_the_recipe_wherever_one_stands(
    tmp_path, monkeypatch, source, resolved
):
    monkeypatch.chdir("/")
    recipe = read(tmp_path, WHOLE.replace("tables/sales.csv", source))
    assert recipe.data.source == resolved.format(folder=tmp_path)


def test_a_source_may_lie_in_a_folder_that_a_variable_names(tmp_path, monkeypatch):
    monkeypatch.setenv("TABLES", str(tmp_path))
    recipe = read(tmp_path / ".", WHOLE.replace("tables/sales.csv", "$TABLES/sales.csv"))
    assert recipe.data.source == f"{tmp_path}/sales.csv"


def test_a_source_in_a_folder_that_no_variable_names_is_refused_by_its_name(tmp_path, monkeypatch):
    monkeypatch.delenv("TABLES", raising=False)
    with pytest.raises(RecipeError, match="TABLES is not set"):
        read(tmp_path, WHOLE.replace("tables/sales.csv", "$TABLES/sales.csv"))


IMPOSSIBLE = {
    "an unknown key": (document(horizont=3), "horizont: "),
    "an unknown key of a part": (document(network={"hiden": 3}), "network.hiden: "),
    "no data": ({"name": "small", "horizon": 4}, "data: "),
    "no name": ({k: v for k, v in document().items() if k != "name"}, "name: "),
    "a name with a slash": (document(name="../small"), "name: "),
    "a name in capitals": (document(name="Small"), "name: "),
    "no step ahead": (document(horizon=0), "horizon: "),
    "text for a number": (document(horizon="many"), "horizon: "),
    "no targets": (document(data={"targets": []}), "data.targets: "),
    "one text for targets": (document(data={"targets": "y"}), "data.targets: "),
    "an unknown frequency": (document(data={"frequency": "hourly"}), "data.frequency: "),
    "a way to fill nobody knows": (document(data={"fill": "zero"}), "data.fill: "),
    "a column twice": (document(data={"known": ["y"]}), "recipe: column 'y' is named twice"),
    "a target twice": (document(data={"targets": ["y", "y"]}), "recipe: .* named twice"),
    "quantiles that fall": (document(quantiles=[0.9, 0.5]), "recipe: quantiles must increase"),
    "quantiles without a median": (document(quantiles=[0.1, 0.9]), "recipe: .* hold 0.5"),
    "no quantiles": (document(quantiles=[]), "quantiles: "),
    "a quantile of one": (document(quantiles=[0.5, 1.0]), "recipe: .* between 0 and 1"),
    "a shortest beyond the longest": (
        document(min_length=30, max_length=20),
        "recipe: min_length must not exceed max_length",
    ),
    "a shortest beyond the longest implied": (
        document(min_length=49),
        "recipe: min_length must not exceed max_length",
    ),
    "no window": (document(max_length=0), "max_length: "),
    "no season": (document(season=0), "season: "),
    "heads that do not divide": (
        document(network={"kind": "attention", "hidden": 10, "heads": 4}),
        "network: hidden must be a multiple of heads",
    ),
    "an unknown network": (document(network={"kind": "tcn"}), "network.kind: "),
    "a reset gate of an lstm": (
        document(network={"kind": "lstm", "reset": "before"}),
        "network: only a gru has a reset gate",
    ),
    "a score of self-attention": (
        document(network={"kind": "attention", "hidden": 8, "score": "dot"}),
        "network: score is for attention over the states",
    ),
    "both ways of self-attention": (
        document(network={"kind": "attention", "bidirectional": True}),
        "network: bidirectional and layer_norm are for gru, lstm and rnn",
    ),
    "a layer norm of self-attention": (
        document(network={"kind": "attention", "layer_norm": True}),
        "network: bidirectional and layer_norm are for gru, lstm and rnn",
    ),
    "truncation of self-attention": (
        document(network={"kind": "attention"}, fit={"truncate": 5}),
        "recipe: fit.truncate is for gru, lstm and rnn",
    ),
    "state decay of self-attention": (
        document(network={"kind": "attention"}, fit={"state_decay": 0.1}),
        "recipe: fit.state_decay is for gru, lstm and rnn",
    ),
    "truncation both ways": (
        document(network={"bidirectional": True}, fit={"truncate": 5}),
        "recipe: .* no end to count from in a bidirectional network",
    ),
    "truncation that cuts nothing": (
        document(max_length=20, fit={"truncate": 20}),
        "recipe: fit.truncate cuts nothing unless below max_length, 20",
    ),
    "truncation to nothing": (document(fit={"truncate": 0}), "fit.truncate: "),
    "a state decay below zero": (document(fit={"state_decay": -0.1}), "fit.state_decay: "),
    "a causal cell": (
        document(network={"kind": "gru", "causal": True}),
        "network: causal, positions and readout are for kind attention",
    ),
    "positions of a cell": (
        document(network={"kind": "lstm", "positions": "rotary"}),
        "network: .* are for kind attention",
    ),
    "a readout of a cell": (
        document(network={"kind": "lstm", "readout": "window"}),
        "network: .* are for kind attention",
    ),
    "local without a score": (
        document(network={"kind": "gru", "local": "predicted", "window": 3}),
        "network: .* needs a score",
    ),
    "local without a window": (
        document(network={"kind": "gru", "score": "dot", "local": "monotonic"}),
        "network: local and window come together",
    ),
    "a window of a cell": (
        document(network={"kind": "gru", "score": "dot", "window": 3}),
        "network: local and window come together",
    ),
    "no step in a window": (
        document(network={"kind": "attention", "window": 0}),
        "network.window: ",
    ),
    "local self-attention by the wrong word": (
        document(network={"kind": "attention", "local": "monotonic", "window": 3}),
        "network: .* window alone makes attention local",
    ),
    "rotary positions in heads of odd width": (
        document(network={"kind": "attention", "hidden": 6, "heads": 2, "positions": "rotary"}),
        "network: .* even number of hidden units a head",
    ),
    "a readout of no window": (
        document(network={"kind": "attention", "readout": "window"}),
        "network: a readout of the window needs a window",
    ),
    "dropout of everything": (document(network={"dropout": 1.0}), "network.dropout: "),
    "no epochs": (document(fit={"epochs": 0}), "fit.epochs: "),
    "no learning": (document(fit={"learning_rate": 0}), "fit.learning_rate: "),
    "a norm of zero": (document(fit={"clip_norm": 0}), "fit.clip_norm: "),
    "two bounds of a value": (
        document(fit={"clip_value": 1.0, "clip_scaled": 1.0}),
        "fit: .* leave clip_value out",
    ),
    "no device": (document(fit={"devices": 0}), "fit.devices"),
    "a share beyond the whole": (document(split={"test": 1.5}), "split.test: .* between 0 and 1"),
    "a share in per cent": (document(split={"test": 20}), "split.test: .* between 0 and 1"),
    "no share": (document(split={"validation": 0}), "split.validation: .* between 0 and 1"),
    "a share below zero": (document(split={"validation": -0.1}), "split.validation: "),
    "a border that is no time": (document(split={"test": "soon"}), "split.test"),
}


@pytest.mark.parametrize(("given", "expected"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_recipe_is_refused_and_the_key_is_named(given, expected):
    with pytest.raises(RecipeError, match=f"^somewhere: the recipe cannot be used\n  {expected}"):
        Recipe.build(given, "somewhere")


def test_all_wrong_keys_are_named_at_once():
    wrong = document(horizon=0, data={"frequency": "hourly"}, fit={"epoch": 3})
    with pytest.raises(RecipeError) as caught:
        Recipe.build(wrong, "here")
    _, *problems = str(caught.value).splitlines()
    assert [problem.split(":")[0].strip() for problem in problems] == [
        "horizon",
        "data.frequency",
        "fit.epoch",
    ]


@pytest.mark.parametrize(
    "content", [b"name = ", b'name = "a"\nname = "b"', b'name = "\xff"', b"just text"]
)
def test_what_is_not_toml_is_refused_with_the_file_named(tmp_path, content):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"recipe\.toml: "):
        Recipe.read(path)


def test_a_recipe_that_is_not_there_is_refused_with_the_file_named(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.toml: .*No such file"):
        Recipe.read(tmp_path / "none.toml")


def test_data_that_is_no_table_of_keys_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="data: "):
        read(tmp_path, 'name = "a"\nhorizon = 1\ndata = "t.csv"')


def test_a_recipe_error_is_one_that_the_command_prints():
    assert issubclass(RecipeError, TrainingError)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-01-01T06:00:00", datetime(2024, 1, 1, 6, tzinfo=UTC)),
        ("2024-01-01", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01T06:00:00Z", datetime(2024, 1, 1, 6, tzinfo=UTC)),
        ("2024-01-01T06:00:00+02:00", datetime(2024, 1, 1, 4, tzinfo=UTC)),
        ('"2024-01-01T06:00:00"', datetime(2024, 1, 1, 6, tzinfo=UTC)),
    ],
)
def test_a_border_without_a_zone_is_utc(tmp_path, written, meant):
    recipe = read(tmp_path, WHOLE.replace("2024-01-01T00:00:00", written))
    assert recipe.split.test == meant
    assert recipe.split.test.tzinfo is not None


def test_a_border_may_be_a_share_of_the_time():
    assert SplitRecipe(validation=0.25).validation == 0.25


@pytest.mark.parametrize(
    ("frequency", "horizon", "season", "lengths"),
    [
        ("1h", 4, 24, (12, 48)),
        ("1h", 100, 24, (50, 200)),
        ("15min", 4, 96, (48, 192)),
        ("1d", 7, 7, (3, 14)),
        ("1mo", 3, 12, (6, 24)),
        ("1y", 1, 1, (1, 2)),
    ],
)
def test_season_and_lengths_follow_from_the_frequency_unless_given(
    frequency, horizon, season, lengths
):
    implied = document(horizon=horizon, data={"frequency": frequency})
    recipe = Recipe.build(implied, "here")
    assert (recipe.seasonality, recipe.lengths) == (season, lengths)
    given = Recipe.build(implied | {"season": 5, "max_length": 300, "min_length": 2}, "here")
    assert (given.seasonality, given.lengths) == (5, (2, 300))


def test_the_description_builds_the_same_recipe_again(tmp_path):
    recipe = read(tmp_path, WHOLE)
    assert Recipe.build(json.loads(recipe.describe()), "the card") == recipe


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_no_generator_takes_is_refused_by_its_key(seed):
    with pytest.raises(RecipeError, match=r"fit\.seed: Input should be"):
        Recipe.build(document(fit={"seed": seed}), "the options")
