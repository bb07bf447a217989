"""``seqserve compare``: everything by the same backtest, a table, pictures, and no one stops it."""

import csv
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.doubles import PATIENCE
from tests.training.tables import parts, recipe
from training.architecture import NetworkRecipe
from training.baselines import DoesNotApply, Forecast, SeasonalNaive, seasonal_naive
from training.comparing import compare as command
from training.comparing import shown_progress
from training.comparison import compare
from training.contenders import of_kind
from training.errors import TrainingError
from training.recipe import Recipe

PNG = b"\x89PNG\r\n\x1a\n"
NAMES = [
    "seasonal naive",
    "ridge",
    "k-nearest neighbours",
    "ARIMA",
    "ARIMAX",
    "Holt-Winters",
    "VARMA",
    "hidden Markov model",
    "gru",
]


def weekly(steps=300, seed=0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.1, steps)
    return np.sin(np.arange(steps) / 7 * 2 * np.pi) + noise


def write(path: Path, values) -> Path:
    time = np.datetime64("2024-01-01") + np.arange(len(values))
    rows = (
        ",".join([str(moment), *("" if np.isnan(each) else str(each) for each in row)])
        for moment, row in zip(time, values, strict=True)
    )
    path.write_text("\n".join(["ds,a,b,shown", *rows, ""]))
    return path


def invoke(*arguments) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


PLAN = "--time ds --target a --target b --known shown --freq 1d --horizon 4 --window 21 --epochs 1"
ONE = "--time ds --target a --freq 1d --horizon 4 --window 21 --origins 3"


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> tuple[Path, Result]:
    """Compare on two targets with a known covariate and missing values."""
    folder = tmp_path_factory.mktemp("comparison")
    values = np.stack([weekly(), 5 + weekly(seed=1), weekly(seed=2)], axis=1)
    values[np.random.default_rng(3).random(300) < 0.03, 1] = np.nan
    data = write(folder / "table.csv", values)
    plan = [*PLAN.split(), "--networks", "gru", "--origins", "12", "--output", folder / "out"]
    return folder / "out", invoke(data, *plan)


def test_all_methods_and_the_network_are_in_the_table(compared):
    folder, result = compared
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))
    for target in ("a", "b"):
        found = {row["method"]: row for row in rows if row["target"] == target}
        assert sorted(found) == sorted(NAMES)
        for row in found.values():
            assert row["absent"] == ""
            assert 0 < float(row["mae"]) <= float(row["rmse"])
            assert 0 < float(row["mase"]) < 100
            assert 0 <= float(row["coverage"]) <= 1
            assert float(row["weighted_quantile_loss"]) > 0
    for name in NAMES:
        assert name in result.stdout
        assert f"| {name} |" in (folder / "comparison.md").read_text()


def test_the_pictures_are_there_and_shown(compared):
    folder, _ = compared
    pictures = {"fans-1.png", "fans-2.png", "error-by-horizon.png", "calibration.png"}
    assert {path.name for path in folder.iterdir()} == pictures | {
        "comparison.csv",
        "comparison.md",
    }
    text = (folder / "comparison.md").read_text()
    for name in pictures:
        assert (folder / name).read_bytes().startswith(PNG)
        assert f"]({name})" in text


def test_the_table_fits_a_terminal_of_80_columns(compared):
    _, result = compared
    assert "…" not in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()[:-1]) <= 80


def test_progress_is_told_for_each_on_stderr(compared):
    _, result = compared
    for name in NAMES:
        (line,) = (line for line in result.stderr.splitlines() if line.startswith(f"{name} "))
        assert "12/12" in line


def test_an_interrupt_ends_the_line_of_progress():
    drawing = []

    def interrupted():
        with shown_progress(quiet=False) as report:
            before = set(threading.enumerate())
            report("ridge", 0, 2)
            report("ridge", 1, 2)
            drawing.extend(set(threading.enumerate()) - before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (thread,) = drawing
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_what_does_not_apply_is_told_with_its_reason(tmp_path):
    data = write(tmp_path / "t.csv", np.stack([weekly()] * 3, axis=1))
    result = invoke(data, *ONE.split(), "--networks", "", "--quiet", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "does not apply: there is one target" in result.stdout
    assert "does not apply: no covariate is known ahead" in result.stdout


def test_a_recipe_is_data_too_and_takes_no_options_beside_it(tmp_path):
    write(tmp_path / "t.csv", np.stack([weekly()] * 3, axis=1))
    chosen = tmp_path / "r.toml"
    chosen.write_text(
        'name = "r"\nhorizon = 2\nmax_length = 24\n'
        '[data]\nsource = "t.csv"\ntime = "ds"\ntargets = ["a"]\nfrequency = "1d"\n'
    )
    refused = invoke(chosen, "--horizon", 3)
    assert refused.exit_code == 2
    assert "leave out --horizon" in refused.stderr
    result = invoke(chosen, "--networks", "", "--origins", 2, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 steps ahead from 2 origins" in result.stdout


def test_a_table_that_cannot_be_used_ends_in_one_message(tmp_path):
    result = invoke(tmp_path / "none.csv", *PLAN.split(), "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "none.csv: cannot be read" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_network_is_refused_by_name():
    result = invoke("t.csv", "--networks", "gru,cnn")
    assert result.exit_code == 2
    assert "there is no cnn" in result.stderr


class Broken(SeasonalNaive):
    """Fails where it is told to."""

    def __init__(self, chosen, *, fit=None, answer=None) -> None:
        super().__init__(chosen)
        self.failure = fit
        self.answer = answer

    def fit(self, train, validation) -> None:
        if self.failure:
            raise self.failure
        super().fit(train, validation)

    def forecast(self, windows, rows) -> Forecast:
        found = super().forecast(windows, rows)
        return found if self.answer is None else Forecast(found.points + self.answer)


def test_one_that_fails_is_told_of_and_the_others_go_on():
    chosen = recipe(season=7)
    contenders = [
        ("no meaning", lambda: Broken(chosen, fit=DoesNotApply("it is Monday"))),
        ("breaks", lambda: Broken(chosen, fit=np.linalg.LinAlgError("singular\nmatrix"))),
        ("wordless", lambda: Broken(chosen, fit=MemoryError())),
        ("no number", lambda: Broken(chosen, answer=np.nan)),
        ("cannot be made", lambda: Broken(chosen, nothing=1)),
        ("good", lambda: SeasonalNaive(chosen)),
    ]
    found = compare(chosen, parts(weekly(), chosen), contenders, origins=5)
    absent = {each.name: each.absent for each in found.outcomes}
    assert absent["no meaning"] == "does not apply: it is Monday"
    assert absent["breaks"] == "failed: singular"
    assert absent["wordless"] == "failed: MemoryError"
    assert absent["no number"] == "failed: it answers with numbers that are not finite"
    assert absent["cannot be made"].startswith("failed: ")
    assert absent["good"] == ""
    assert found.outcomes[-1].scores[0].mae > 0


def test_all_are_asked_at_the_same_origins_from_the_first_to_the_last():
    chosen = recipe(season=7)
    asked = {}

    class Listening(SeasonalNaive):
        def __init__(self, name) -> None:
            super().__init__(chosen)
            self.asked = asked.setdefault(name, [])

        def forecast(self, windows, rows) -> Forecast:
            self.asked.extend(windows.origins[rows].tolist())
            return super().forecast(windows, rows)

    cut = parts(weekly(), chosen)
    contenders = [(name, lambda name=name: Listening(name)) for name in ("one", "two")]
    found = compare(chosen, cut, contenders, origins=7)
    assert asked["one"] == asked["two"]
    tested = asked["one"][:7]
    assert tested == found.windows.origins.tolist()
    assert tested[0] == cut.test.origins[0]
    assert tested[-1] == cut.test.origins[-1]
    assert np.ptp(np.diff(tested)) <= 1
    assert max(asked["one"][7:]) < cut.test.origins[0]  # the rest is of the validation part


def test_the_scores_are_those_of_these_windows():
    chosen = recipe(season=7)
    cut = parts(weekly(), chosen)
    found = compare(chosen, cut, [("naive", lambda: SeasonalNaive(chosen))], origins=6)
    rows = np.arange(6)
    naive = seasonal_naive(found.windows, rows, 7)
    batch = found.windows.batch(rows, found.windows.available(rows))
    error = np.abs(naive - batch.actuals)
    (outcome,) = found.outcomes
    assert outcome.scores[0].mae == pytest.approx(error.mean(), rel=1e-5)
    before = cut.test.values[: found.windows.origins[0] + 1, 0]
    scale = np.abs(before[7:] - before[:-7]).mean()
    assert outcome.scores[0].mase == pytest.approx(error.mean() / scale, rel=1e-5)


def test_a_method_without_intervals_gets_those_of_its_errors_before_the_test():
    rng = np.random.default_rng(0)
    chosen = recipe(horizon=1, split={"validation": 0.3, "test": 0.3})
    cut = parts(np.cumsum(rng.normal(size=1500)), chosen)
    found = compare(chosen, cut, [("naive", lambda: SeasonalNaive(chosen))], origins=400)
    (outcome,) = found.outcomes
    assert not outcome.own_intervals
    assert outcome.scores[0].coverage == pytest.approx(0.8, abs=0.1)
    quantiles = outcome.forecast.quantiles
    assert np.array_equal(quantiles[..., 1], outcome.forecast.points)


def test_series_never_asked_for_are_not_fitted_one_by_one():
    chosen = recipe(season=7)
    fitted = []

    class Each(SeasonalNaive):
        pooled = False

        def fit(self, train, validation) -> None:
            super().fit(train, validation)
            fitted.extend(np.unique(train.first).tolist())

    cut = parts([weekly(seed=seed) for seed in range(6)], chosen)
    found = compare(chosen, cut, [("each", lambda: Each(chosen))], origins=2)
    assert fitted == np.unique(found.windows.first).tolist()
    assert len(fitted) == 2


def test_a_target_without_a_history_cannot_be_compared():
    chosen = recipe(targets=("a", "b"), season=7, horizon=1)
    values = np.stack([weekly(), weekly()], axis=1)
    cut = parts(values, chosen)
    cut.test.values[: cut.test.origins[-1] + 1, 1] = np.nan
    with pytest.raises(TrainingError, match="history of every target"):
        compare(chosen, cut, [], origins=3)


def test_another_network_leaves_out_what_only_its_own_kind_can_have():
    chosen = recipe(network={"kind": "gru", "score": "dot", "hidden": 8})
    assert of_kind(chosen, "gru").network.score == "dot"
    other = of_kind(chosen, "attention").network
    assert (other.kind, other.score, other.hidden) == ("attention", None, 8)
    with pytest.raises(TrainingError, match="multiple of heads"):
        of_kind(recipe(network={"hidden": 6}), "attention")


@pytest.mark.parametrize(
    ("network", "fit", "other", "left"),
    [
        ({"kind": "gru", "reset": "before", "layer_norm": True}, {"truncate": 5}, "lstm", "reset"),
        ({"kind": "lstm", "bidirectional": True}, {}, "attention", "bidirectional"),
        ({"kind": "rnn"}, {"truncate": 5, "state_decay": 0.1}, "attention", None),
        ({"kind": "gru", "score": "dot", "local": "predicted", "window": 3}, {}, "attention", None),
        (
            {"kind": "attention", "causal": True, "window": 3, "readout": "window", "hidden": 8},
            {},
            "gru",
            "causal",
        ),
        ({"kind": "attention", "positions": "learned", "hidden": 8}, {}, "rnn", "positions"),
    ],
)
def test_a_recipe_of_any_kind_has_a_comparable_one_of_every_other(network, fit, other, left):
    chosen = recipe(network=network).model_dump() | {"fit": fit}
    found = of_kind(Recipe.build(chosen, "test"), other)
    assert found.network.kind == other
    if left:
        assert getattr(found.network, left) == NetworkRecipe.model_fields[left].default
    if other == "lstm":  # a cell like the recipe's own: what both can have is kept
        assert found.network.layer_norm
        assert found.fit.truncate == chosen["fit"]["truncate"]
