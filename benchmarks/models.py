"""The benchmark's models: untrained, for speed does not depend on the weights."""

from pathlib import Path

import click
import numpy as np
import torch

from models.contract import ModelCard
from models.repository import Entry, Repository
from training.export import write_model
from training.networks import Forecaster, Scaling, build
from training.recipe import Recipe

ROOT = Path(__file__).parent / "models"
KINDS = ("lstm", "gru", "attention")
STEPS, FEATURES, HORIZON = 96, 8, 24
LONGEST = 512
QUANTILES = (0.1, 0.5, 0.9)


def recipe(kind: str) -> Recipe:
    """Return 2 layers of 64 that read 8 features and answer 24 steps by 3 quantiles."""
    return Recipe.model_validate(
        {
            "name": f"bench-{kind}",
            "horizon": HORIZON,
            "min_length": 1,
            "max_length": LONGEST,
            "quantiles": QUANTILES,
            "data": {
                "source": "none",
                "time": "ds",
                "targets": ("y",),
                "features": [f"x{number}" for number in range(1, FEATURES)],
                "frequency": "1h",
            },
            "network": {"kind": kind, "hidden": 64, "layers": 2},
        }
    )


def untrained(kind: str) -> Forecaster:
    """Return a kind's network, with the same weights each time."""
    torch.manual_seed(0)
    scaling = Scaling(np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32))
    return build(recipe(kind), scaling).eval()


def publish(kind: str, root: Path = ROOT) -> Entry:
    """Export one untrained network into a repository as its next version."""
    made, network = recipe(kind), untrained(kind)
    card = ModelCard(
        name=made.name,
        description="Untrained: for measuring speed.",
        features=made.data.columns,
        targets=made.data.targets,
        horizon=made.horizon,
        quantiles=made.quantiles,
        frequency=made.data.frequency,
        max_length=made.max_length,
    )

    def write(path: Path) -> None:
        write_model(network, card, path)

    return Repository(root).publish(made.name, write)


def published(kind: str, root: Path = ROOT) -> Entry:
    """Return the newest version of a benchmark's model, exported now if there is none."""
    versions = Repository(root).versions(f"bench-{kind}")
    return versions[-1] if versions else publish(kind, root)


@click.command()
def main() -> None:
    """Publish the models of the benchmarks that are not there yet."""
    for kind in KINDS:
        entry = published(kind)
        click.echo(f"{entry.name} version {entry.version}: {entry.path}")


if __name__ == "__main__":
    main()
