"""What ``seqserve models`` says of a model's accuracy."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from models.accuracy import Accuracy, BaselineAccuracy, ByStep, Spread, TargetAccuracy
from models.contract import Provenance
from models.repository import Repository
from tests.engine.graphs import Graph, card

SEQSERVE = str(Path(sys.executable).with_name("seqserve"))
DAY = datetime(2024, 5, 1, tzinfo=UTC)


def listed(folder) -> str:
    command = [SEQSERVE, "models", "--models", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_models_lists_errors_spread_steps_baselines_split_hash_and_what_was_lost_to(tmp_path):
    found = TargetAccuracy(
        mae=1.25,
        rmse=1.7,
        weighted_quantile_loss=0.1,
        coverage=0.84,
        nominal_coverage=0.8,
        mase=0.97,
        spread=Spread(std=0.81, p10=0.1, p50=1, p90=2),
        by_step=ByStep(mae=(0.5, 2.0), rmse=(1, 1), coverage=(1, 1)),
        baselines={
            "seasonal_naive": BaselineAccuracy(mae=1.7, rmse=2, mae_ratio=0.73),
            "theta": BaselineAccuracy(mae=1, rmse=2, mae_ratio=1.25),
        },
    )
    measured = Accuracy(
        windows=1217, season=24, start=DAY, end=DAY, targets={"load": found}, loses_to=("theta",)
    )
    made = Provenance(
        data_sha256="ab" * 32,
        rows=1,
        series=1,
        split={"train": DAY, "validation": DAY},
        seed=1,
        recipe="{}",
        versions={},
        parity_error=0,
        created=DAY,
    )
    graph = Graph(card(accuracy=measured, provenance=made, units={"load": "MW"}))
    Repository(tmp_path).publish("small", graph.write)
    ends = "MAE 0.5 at the first step, 2 at the last"
    lines = [line.strip() for line in listed(tmp_path).splitlines()]
    assert lines[1:] == [
        "load: MAE 1.25 ± 0.81 MW, 0.73 of seasonal naive's",
        f"RMSE 1.7, MASE 0.97, 84% within the 80% interval, {ends}",
        "1.25 of theta's 1",
        "WARNING: larger errors than theta",
        "held out: 1,217 windows, 2024-05-01 to 2024-05-01",
        "split: train to 2024-05-01, validation to 2024-05-01",
        f"data: sha256 {'ab' * 32}",
    ]


def test_a_model_that_nobody_measured_is_listed_as_one(tmp_path):
    Repository(tmp_path).publish("small", Graph().write)
    assert "no accuracy was measured" in listed(tmp_path)
