"""What the demo shows: one line a step, in a terminal of the usual width."""

import io
from pathlib import Path

from rich.console import Console

from examples.demo import forecast_table
from service.engine.runner import Device, OnnxRunner

ZOO = Path(__file__).parent.parent / "models/zoo"


def test_the_table_of_forecasts_fits_into_eighty_columns():
    card = OnnxRunner(ZOO / "co2-gru/1.onnx", Device("cpu", "for a test")).card
    prediction = {
        "timestamps": ["2002-01-05T00:00:00Z"],
        "quantiles": {"0.1": [371.2], "0.5": [371.7], "0.9": [372.1]},
    }
    console = Console(file=io.StringIO(), width=80)
    console.print(forecast_table(card, (104, 65, 26), [prediction] * 3))
    (line,) = (each for each in console.file.getvalue().splitlines() if "371.7" in each)
    assert line.split() == ["2002-01-05", *["371.7", "(371.2..372.1)"] * 3]
