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
STREAMS, LONGEST_STREAM = (64, 256), 2048  # hidden
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


def stream_recipe(hidden: int) -> Recipe:
    """Return 2 layers that read one series, keep their state, and answer 24 steps."""
    made = recipe("gru")
    network = {"kind": "gru", "hidden": hidden, "layers": 2, "stream": True}
    changes = {"name": f"bench-stream-{hidden}", "max_length": LONGEST_STREAM, "network": network}
    data = made.data.model_dump() | {"features": ()}
    return Recipe.model_validate(made.model_dump() | changes | {"data": data})


def untrained(made: Recipe) -> Forecaster:
    """Return a recipe's network, with the same weights each time."""
    torch.manual_seed(0)
    columns = len(made.data.columns)
    scaling = Scaling(np.zeros(columns, np.float32), np.ones(columns, np.float32))
    return build(made, scaling).eval()


def publish(made: Recipe, root: Path = ROOT) -> Entry:
    """Export a recipe's network, untrained, into a repository as its next version."""
    network = untrained(made)
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


def published(made: Recipe, root: Path = ROOT) -> Entry:
    """Return the newest version of a benchmark's model, exported now if there is none."""
    versions = Repository(root).versions(made.name)
    return versions[-1] if versions else publish(made, root)


@click.command()
def main() -> None:
    """Publish the models of the benchmarks that are not there yet."""
    for made in (*map(recipe, KINDS), *map(stream_recipe, STREAMS)):
        entry = published(made)
        click.echo(f"{entry.name} version {entry.version}: {entry.path}")


if __name__ == "__main__":
    main()
