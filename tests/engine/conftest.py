"""Real small networks, exported once for all tests of the engine."""

import fcntl

import numpy as np
import pytest
import torch

from models.contract import ModelCard
from training.export import write_model
from training.networks import build
from training.networks.normalise import Scaling
from training.recipe import Recipe

FEATURES, KNOWN = ("load", "wind"), ("hour",)


def recipe(kind) -> Recipe:
    return Recipe.model_validate(
        {
            "name": kind,
            "horizon": 3,
            "max_length": 24,
            "data": {
                "source": "none.csv",
                "time": "time",
                "targets": FEATURES[:1],
                "features": FEATURES[1:],
                "known": KNOWN,
                "frequency": "1h",
            },
            "network": {"kind": kind, "hidden": 8, "layers": 1},
        }
    )


def export(kind, path, *, missing) -> ModelCard:
    """Write an untrained network; one that allows missing values has the name of its kind."""
    made = recipe(kind)
    torch.manual_seed(3)
    scaling = Scaling(np.array([50, 5, 0], np.float32), np.array([9, 2, 1], np.float32))
    card = ModelCard(
        name=kind,
        features=made.data.columns,
        targets=made.data.targets,
        known=made.data.known,
        horizon=made.horizon,
        quantiles=made.quantiles,
        frequency="1h",
        max_length=24,
        missing_values=missing,
    )
    return write_model(build(made, scaling, missing=missing), card, path)


@pytest.fixture(scope="session")
def zoo(request, tmp_path_factory):
    """
    Return the files of a GRU, an LSTM and an attention model; only the LSTM knows no gaps.

    Of the processes that test at once, the first to ask exports them for all.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "zoo"
    folder.mkdir(exist_ok=True)
    paths = {kind: folder / f"{kind}.onnx" for kind in ("gru", "lstm", "attention")}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for kind, path in paths.items():
            if not path.exists():
                export(kind, folder / "new.onnx", missing=kind != "lstm")
                (folder / "new.onnx").rename(path)
    torch.set_num_threads(threads)
    return paths
