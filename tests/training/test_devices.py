"""A run on several devices: one process each, and still one model."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from models.repository import Repository

RECIPE = """
name = "shared"
horizon = 4
max_length = 24
[data]
source = "table.csv"
time = "ds"
targets = ["y"]
frequency = "1d"
[fit]
epochs = 2
accelerator = "cpu"
devices = 2
"""


def test_many_devices_train_together_and_publish_once(tmp_path):
    days = np.datetime64("2024-01-01") + np.arange(300)
    rows = [f"{day},{number % 7}" for number, day in enumerate(days)]
    (tmp_path / "table.csv").write_text("\n".join(["ds,y", *rows]))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    command = [Path(sys.executable).with_name("seqserve"), "train", "recipe.toml"]
    result = subprocess.run(
        [*command, "--models", "models", "--quiet", "--anyway"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert [entry.version for entry in Repository(tmp_path / "models").versions("shared")] == [1]
    assert result.stdout.count("published") == 1
