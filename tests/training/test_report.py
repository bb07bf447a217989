"""What a person reads after a run: whole figures, however narrow the terminal."""

import io
from datetime import UTC, datetime

from rich.console import Console

from models.accuracy import Accuracy, BaselineAccuracy, ByStep, Spread, TargetAccuracy
from models.contract import ModelCard
from training.report import accuracy_table

DAY = datetime(2024, 1, 1, tzinfo=UTC)
TARGET = "temperature"


def printed(width: int, naive_mae: float, **figures: float) -> str:
    names = ("mae", "rmse", "weighted_quantile_loss", "coverage", "nominal_coverage")
    ratio = figures["mae"] / naive_mae
    naive = BaselineAccuracy(mae=naive_mae, rmse=0.5, mae_ratio=ratio)
    errors = dict.fromkeys(names, 0.5) | figures | {"baselines": {"seasonal_naive": naive}}
    errors |= {
        "spread": Spread(std=0.3, p10=0, p50=1, p90=2),
        "by_step": ByStep(mae=(0.25, 4), rmse=(1, 1), coverage=(1, 1)),
    }
    accuracy = Accuracy(
        windows=69,
        season=12,
        start=DAY,
        end=DAY,
        targets={TARGET: TargetAccuracy(**errors)},
        loses_to=("theta", "ets"),
    )
    card = ModelCard(
        name="sea",
        features=(TARGET,),
        targets=(TARGET,),
        horizon=6,
        quantiles=(0.1, 0.5, 0.9),
        frequency="1mo",
        min_length=12,
        max_length=48,
        units={TARGET: "degrees Celsius"},
        accuracy=accuracy,
    )
    console = Console(file=io.StringIO(), width=width)
    console.print(accuracy_table(card))
    return console.file.getvalue()


def test_eighty_columns_hold_every_figure_of_a_target_with_a_long_name():
    text = printed(80, 1.102, mae=0.8207, rmse=1.035, coverage=0.68)
    (line,) = (line for line in text.splitlines() if "0.8207" in line)
    assert line.split() == [
        TARGET, "0.8207", "1.102", "0.74", "1.035", "0.5", "0.5000", "68%", "of", "50%",
    ]  # fmt: skip


def test_a_long_name_is_broken_and_never_the_figures():
    text = printed(80, 1.234e33, mae=3.522e34, rmse=3.5e35)
    assert "…" not in text
    for figure in ("3.522e+34", "1.234e+33", "28.54", "3.5e+35", "50% of 50%"):
        assert figure in text


def test_the_spread_the_first_and_last_step_and_what_it_lost_to_are_said():
    text = " ".join(printed(80, 1.102, mae=0.8207).split())
    assert f"{TARGET}: MAE ± 0.3 over windows, 0.25 at the first step, 4 at the last" in text
    assert "It has larger errors than theta, ets." in text
