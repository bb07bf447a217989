"""What ``seqserve train`` promises at the terminal: a published version, or one clear message."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result

from models.contract import ATTENTION, FUTURE, LENGTHS, PREDICTIONS, SEQUENCES, ModelCard
from models.fingerprint import overlap
from service.cli import main

START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = 400


def hour(step: int) -> str:
    return f"{START + timedelta(hours=step):%Y-%m-%dT%H:%M:%SZ}"


def daily(rows: int = ROWS, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.1, rows)
    return np.sin(np.arange(rows) / 24 * 2 * np.pi) + noise


def write(path: Path, header: str, rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows), ""]))
    return path


def plain(path: Path) -> Path:
    return write(path, "ds,y", ((hour(step), value) for step, value in enumerate(daily())))


def many(path: Path) -> Path:
    """Write two series of two targets, a feature and a column known ahead, rows shuffled."""
    rows = [
        (name, hour(step), value, 2 - value, np.cos(step), (START + timedelta(hours=step)).hour)
        for name, seed in (("north", 1), ("south", 2))
        for step, value in enumerate(daily(200, seed))
    ]
    np.random.default_rng(0).shuffle(rows)
    return write(path, "place,ds,load [kw],price,wind,hour", rows)


def options(folder: Path, data: Path) -> list[str]:
    plan = (
        "--time ds --target y --freq 1h --horizon 4 --network gru --epochs 1 --window 24 --anyway"
    )
    folders = ["--models", str(folder / "models"), "--checkpoints", str(folder / "checkpoints")]
    return ["--data", str(data), *plan.split(), *folders]


def train(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


def card_of(path: Path) -> ModelCard:
    return ModelCard.from_metadata(open_model(path).get_modelmeta().custom_metadata_map)


def open_model(path: Path) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def published(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.onnx"))


def refused(result: Result, *words: str, code: int = 1) -> None:
    """Say that the command ended with one message and told no more than that."""
    assert result.exit_code == code
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stderr.count("Error: ") == 1
    for word in words:
        assert word in result.stderr


class Trained(NamedTuple):
    folder: Path
    data: Path
    first: Result
    second: Result

    @property
    def files(self) -> list[Path]:
        return [self.folder / "models" / "sales-gru" / f"{number}.onnx" for number in (1, 2)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    """Train twice on the same data with the same seed."""
    folder = tmp_path_factory.mktemp("run")
    data = plain(folder / "tables" / "sales.csv")
    first, second = (train(*options(folder, data), "--seed", 7) for _ in range(2))
    return Trained(folder, data, first, second)


def test_a_run_publishes_version_one_and_the_next_version_two(trained):
    assert (trained.first.exit_code, trained.second.exit_code) == (0, 0)
    assert published(trained.folder) == ["models/sales-gru/1.onnx", "models/sales-gru/2.onnx"]
    assert f"published {trained.files[0]} (" in trained.first.stdout
    assert f"published {trained.files[1]} (" in trained.second.stdout


def test_it_prints_the_error_beside_that_of_the_naive_forecast(trained):
    accuracy = card_of(trained.files[0]).accuracy
    lines = trained.first.stdout.splitlines()
    (header,) = (line.split() for line in lines if "target" in line)
    (row,) = (line.split() for line in lines if line.strip().startswith("y "))
    assert header[:4] == ["target", "MAE", "naive", "ratio"]
    found = accuracy.targets["y"]
    naive = found.baselines["seasonal_naive"]
    ratio = found.mae / naive.mae
    assert row[1:4] == [f"{found.mae:.4g}", f"{naive.mae:.4g}", f"{ratio:.2f}"]


def test_it_says_what_it_read_and_how_to_serve_the_model(trained):
    assert f"sales-gru: a gru network on {trained.data}" in trained.first.stdout
    assert "400 rows of 1 series; windows: " in trained.first.stdout
    assert f"Serve it: seqserve serve --models {trained.folder}/models" in trained.first.stdout


def test_without_a_terminal_progress_goes_to_stderr_in_lines(trained):
    (line,) = trained.first.stderr.splitlines()
    assert line.startswith("epoch 1/1  ")
    assert "validation_loss" in line


def test_the_card_in_the_file_carries_the_accuracy(trained):
    card = card_of(trained.files[0])
    assert (card.name, card.targets, card.horizon, card.frequency) == ("sales-gru", ("y",), 4, "1h")
    assert (card.min_length, card.max_length, card.missing_values) == (6, 24, False)
    accuracy = card.accuracy
    assert list(accuracy.targets) == ["y"]
    assert accuracy.season == 24
    assert accuracy.windows == 37  # of the last 40 rows
    assert accuracy.end == START + timedelta(hours=ROWS - 1)
    found = accuracy.targets["y"]
    assert found.mae > 0
    assert 0.05 < found.baselines["seasonal_naive"].mae < 0.25  # two noises of 0.1 each


def test_the_card_in_the_file_says_where_the_model_comes_from(trained):
    provenance = card_of(trained.files[0]).provenance
    assert provenance.data_sha256 == hashlib.sha256(trained.data.read_bytes()).hexdigest()
    assert (provenance.rows, provenance.series, provenance.seed) == (ROWS, 1, 7)
    assert set(provenance.split) == {"train", "validation"}
    assert provenance.parity_error < 1e-4
    assert provenance.versions["torch"] == torch.__version__
    recipe = json.loads(provenance.recipe)
    assert recipe["data"]["source"] == "sales.csv"
    assert recipe["fit"] == {"epochs": 1, "seed": 7}


def test_the_card_recognises_what_it_was_trained_on_and_not_what_was_held_out(trained):
    provenance = card_of(trained.files[0]).provenance
    rows = [line.split(",") for line in trained.data.read_text().splitlines()[1:]]
    values = np.array([[float(row[1])] for row in rows]).astype(np.float32)
    seen = sum(
        datetime.fromisoformat(row[0]).replace(tzinfo=UTC) <= provenance.split["validation"]
        for row in rows
    )
    assert overlap(values, provenance.fingerprint).end == seen < len(values)
    assert overlap(values[seen:], provenance.fingerprint).found == 0


def test_nothing_in_the_file_tells_of_this_machine(trained):
    content = trained.files[0].read_bytes()
    for trace in (str(trained.folder), "/tables", sys.prefix, str(Path.cwd()), "site-packages"):
        assert trace.encode() not in content


def test_the_same_seed_gives_the_same_predictions_and_another_seed_others(trained):
    rng = np.random.default_rng(0)
    feeds = {
        SEQUENCES: rng.normal(size=(3, 24, 1)).astype("f4"),
        LENGTHS: np.array([24, 10, 6]),
    }
    first, second = (open_model(path).run([PREDICTIONS], feeds)[0] for path in trained.files)
    assert first.shape == (3, 4, 1, 3)
    assert np.array_equal(first, second)
    accuracies = [card_of(path).accuracy for path in trained.files]
    assert accuracies[0] == accuracies[1]
    other = train(*options(trained.folder, trained.data), "--seed", 8, "--name", "other", "--quiet")
    assert other.exit_code == 0
    path = trained.folder / "models" / "other" / "1.onnx"
    assert not np.allclose(open_model(path).run([PREDICTIONS], feeds)[0], first)
    assert other.stderr == ""  # it was asked to be quiet
    path.unlink()


def test_many_series_with_several_targets_features_and_known_columns(tmp_path):
    data = many(tmp_path / "Grid [2024].csv")
    result = train(
        *("--data", data, "--time", "ds", "--id", "place"),
        *("--target", "load [kw]", "--target", "price", "--feature", "wind", "--known", "hour"),
        *("--freq", "1H", "--horizon", 4, "--network", "lstm", "--window", 12, "--epochs", 1),
        "--anyway",
        *("--models", tmp_path / "models", "--checkpoints", tmp_path / "checkpoints"),
    )
    assert result.exit_code == 0, result.output
    assert "400 rows of 2 series" in result.stdout
    assert "load [kw]" in result.stdout
    assert published(tmp_path) == ["models/grid-2024-lstm/1.onnx"]
    path = tmp_path / "models" / "grid-2024-lstm" / "1.onnx"
    card = card_of(path)
    assert card.features == ("load [kw]", "price", "wind", "hour")
    assert (card.targets, card.known) == (("load [kw]", "price"), ("hour",))
    assert list(card.accuracy.targets) == ["load [kw]", "price"]
    assert card.provenance.series == 2
    feeds = {
        SEQUENCES: np.ones((2, 12, 4), "f4"),
        LENGTHS: np.array([12, 3]),
        FUTURE: np.ones((2, 4, 1), "f4"),
    }
    assert open_model(path).run([PREDICTIONS], feeds)[0].shape == (2, 4, 2, 3)


def test_cycles_of_the_calendar_and_static_columns_are_options_too(tmp_path):
    data = many(tmp_path / "grid.csv")
    result = train(
        *("--data", data, "--time", "ds", "--id", "place", "--target", "price", "--known", "hour"),
        *("--calendar", "time_of_day", "--calendar", "weekday", "--static", "place"),
        *("--freq", "1h", "--horizon", 4, "--window", 12, "--epochs", 1, "--quiet", "--anyway"),
        *("--models", tmp_path / "models", "--checkpoints", tmp_path / "checkpoints"),
    )
    assert result.exit_code == 0, result.output
    card = card_of(tmp_path / "models" / "grid-gru" / "1.onnx")
    cycles = ("time_of_day_sin", "time_of_day_cos", "weekday_sin", "weekday_cos")
    assert card.features == ("price", "place=north", "place=south", "hour", *cycles)
    assert (card.known, card.calendar) == (("hour", *cycles), ("time_of_day", "weekday"))
    assert card.static == {"place": ("north", "south")}
    assert (card.given, card.given_known) == (("price", "hour"), ("hour",))
    refused(train(*options(tmp_path, data), "--calendar", "fortnight"), "'fortnight'", code=2)


def test_a_recipe_file_is_all_it_needs(tmp_path, monkeypatch):
    plain(tmp_path / "study" / "tables" / "t.csv")
    recipe = tmp_path / "study" / "small.toml"
    recipe.write_text(
        'name = "from-a-recipe"\nhorizon = 2\nmax_length = 12\nquantiles = [0.5]\n'
        '[data]\nsource = "tables/t.csv"\ntime = "ds"\ntargets = ["y"]\nfrequency = "1h"\n'
        "units = { y = 'MW' }\n"
        "[split]\nvalidation = 2024-01-12\ntest = 2024-01-15T00:00:00\n"
        "[network]\nhidden = 8\nlayers = 1\n[fit]\nepochs = 1\n"
    )
    monkeypatch.chdir(tmp_path)  # nor does the folder one stands in matter
    result = train("study/small.toml", "--quiet", "--anyway")
    assert result.exit_code == 0, result.output
    card = card_of(tmp_path / "models" / "from-a-recipe" / "1.onnx")
    assert card.quantiles == (0.5,)
    assert card.accuracy.start == datetime(2024, 1, 15, tzinfo=UTC)
    assert card.provenance.split["train"] == datetime(2024, 1, 11, 23, tzinfo=UTC)
    assert "y (MW)" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "models", "study"]


@pytest.mark.parametrize(
    ("words", "reach"),
    [
        ('kind = "attention"\ncausal = true\npositions = "rotary"\nreadout = "window"', 5),
        ('kind = "gru"\nscore = "general"\nlocal = "monotonic"', 5),
        ('kind = "gru"\nscore = "concat"\nlocal = "predicted"', 12),
    ],
)
def test_local_attention_is_trained_by_recipe_and_its_file_tells_what_it_looked_at(
    tmp_path, words, reach
):
    plain(tmp_path / "t.csv")
    recipe = tmp_path / "local.toml"
    recipe.write_text(
        'name = "local"\nhorizon = 2\nmax_length = 24\n'
        '[data]\nsource = "t.csv"\ntime = "ds"\ntargets = ["y"]\nfrequency = "1h"\n'
        f"[network]\nhidden = 8\nwindow = 5\n{words}\n[fit]\nepochs = 1\n"
    )
    folders = "--models", tmp_path / "models", "--checkpoints", tmp_path / "checkpoints"
    result = train(recipe, "--quiet", "--anyway", *folders)
    assert result.exit_code == 0, result.output
    path = tmp_path / "models" / "local" / "1.onnx"
    assert card_of(path).attention
    feeds = {SEQUENCES: np.ones((2, 24, 1), "f4"), LENGTHS: np.array([24, 9])}
    (weights,) = open_model(path).run([ATTENTION], feeds)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert not weights[1, 9:].any()
    assert ((weights > 0).sum(1) <= reach).all()


BAD = {
    "a gap": (lambda rows: rows[:50] + rows[53:], ["row 52, column 'ds': 3 rows", "--fill"]),
    "a word": (lambda rows: [*rows[:9], (hour(9), "nine")], ["row 11, column 'y': 'nine'"]),
    "a constant": (lambda rows: [(time, 1) for time, _ in rows], ["column 'y': the target is 1"]),
    "few rows": (lambda rows: rows[:9], ["too few rows", "Shorten the horizon"]),
    "no rows": (lambda _: [], ["the table has no rows"]),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_a_bad_table_ends_in_one_message_and_publishes_nothing(tmp_path, change, words):
    rows = [(hour(step), value) for step, value in enumerate(daily())]
    data = write(tmp_path / "t.csv", "ds,y", change(rows))
    refused(train(*options(tmp_path, data)), f"Error: {data}", *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]


def test_a_file_that_is_not_there_ends_in_one_message(tmp_path):
    refused(train(*options(tmp_path, tmp_path / "none.csv")), "none.csv: cannot be read")
    refused(train(tmp_path / "none.toml"), "none.toml: ", "No such file")


def test_filling_the_gap_on_purpose_gets_past_it(tmp_path):
    rows = [(hour(step), value) for step, value in enumerate(daily(9))]
    data = write(tmp_path / "t.csv", "ds,y", rows[:5] + rows[6:])
    refused(train(*options(tmp_path, data)), "1 row is missing")
    refused(train(*options(tmp_path, data), "--fill", "linear"), "too few rows")


def test_options_beside_a_recipe_are_refused_by_name(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'name = "r"\nhorizon = 2\n'
        '[data]\nsource = "t.csv"\ntime = "ds"\ntargets = ["y"]\nfrequency = "1h"\n'
    )
    result = train(recipe, "--horizon", 4, "--id", "a", "--target", "y", "--seed", 0)
    refused(result, "A recipe decides everything", code=2)
    for flag in ("--horizon", "--id", "--target", "--seed"):
        assert flag in result.stderr
    assert "--series" not in result.stderr
    assert "--freq" not in result.stderr


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], ["--data", "--time", "--target", "--freq", "--horizon"]),
        (["--data", "t.csv", "--time", "ds"], ["--target", "--freq", "--horizon"]),
        (["--data", "t.csv", "--time", "ds", "--target", "y", "--freq", "1h"], ["--horizon"]),
    ],
)
def test_options_that_are_missing_are_named(given, missing):
    refused(train(*given), f"Without a recipe, give {', '.join(missing)} too.")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--freq", "hourly"], ["data.frequency", "'hourly' is not a frequency"]),
        (["--known", "y"], ["column 'y' is named twice"]),
        (["--name", "My Model"], ["name: "]),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_the_table_is_read(tmp_path, wrong, words):
    refused(train(*options(tmp_path, tmp_path / "none.csv"), *wrong), "the options: ", *words)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("Sales 2024 (final).csv", "sales-2024-final-gru"),
        ("statsmodels:none", "none-gru"),
        ("Übersicht.csv.gz", "bersicht-gru"),
        ("....csv", "table-gru"),
        ("a" * 99 + ".csv", "a" * 40 + "-gru"),
    ],
)
def test_a_model_is_called_after_its_file_whatever_that_is_called(tmp_path, source, name):
    result = train(*options(tmp_path, source))
    refused(result, f"Error: {source}")
    assert result.stdout == f"{name}: a gru network on {source}\n"


def test_the_installed_command_ends_with_one_and_without_a_traceback(tmp_path):
    command = Path(sys.executable).with_name("seqserve")
    ended = subprocess.run(
        [command, "train", *options(tmp_path, tmp_path / "none.csv")],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        f"Error: {tmp_path}/none.csv: cannot be read: No such file or directory\n"
        "  Check the path.\n"
    )
    assert list(tmp_path.iterdir()) == []
