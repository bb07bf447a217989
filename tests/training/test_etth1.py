"""A short run on data of the real world, where there is a copy of it: $SEQSERVE_DATA/etth."""

import math
import os
from pathlib import Path

import onnxruntime
import pytest
from click.testing import CliRunner

from models.contract import ModelCard
from service.cli import main

FOLDER = os.environ.get("SEQSERVE_DATA")

pytestmark = pytest.mark.skipif(
    FOLDER is None,
    reason="needs ETTh1: set SEQSERVE_DATA to a folder that holds etth/ETTh1.csv.gz",
)


def test_two_epochs_on_etth1_teach_more_than_repeating_the_last_value_or_day(tmp_path):
    data = Path(FOLDER) / "etth" / "ETTh1.csv.gz"
    plan = "--time date --target OT --freq 1h --horizon 24 --window 48 --network gru --epochs 2"
    folders = ["--models", str(tmp_path / "models"), "--checkpoints", str(tmp_path / "checkpoints")]
    result = CliRunner().invoke(main, ["train", "--data", str(data), *plan.split(), *folders])
    assert result.exit_code == 0, result.output
    path = tmp_path / "models" / "etth1-gru" / "1.onnx"
    opened = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    card = ModelCard.from_metadata(opened.get_modelmeta().custom_metadata_map)
    found = card.accuracy.targets["OT"]
    assert card.provenance.rows == 17420
    assert card.accuracy.windows > 1500
    figures = found.mae, found.rmse, found.weighted_quantile_loss, found.coverage
    assert all(math.isfinite(value) for value in figures)
    # Three seeds came to 0.77 of seasonal naive's error; repeating the last value, which is all
    # that an untrained network knows, to 0.90.
    naive = found.baselines["seasonal_naive"]
    assert found.mae < 0.85 * naive.mae
    assert found.rmse < naive.rmse
