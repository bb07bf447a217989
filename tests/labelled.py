"""Labelled series of different lengths: waves of three periods, in noise, as a long table."""

import csv
from pathlib import Path

import numpy as np

from training.classify.recipe import ClassifyRecipe

PERIODS = {"quick": 4, "steady": 9, "slow": 24}  # steps
CLASSES = tuple(sorted(PERIODS))


def wave(kind: str, length: int, rng: np.random.Generator, noise: float = 0.3) -> np.ndarray:
    """Return (time, 2): a wave of some phase and level, and what has nothing to do with it."""
    angle = 2 * np.pi * np.arange(length) / PERIODS[kind] + rng.uniform(0, 2 * np.pi)
    level = 20 + 3 * np.sin(angle) + rng.normal(0, 3 * noise, length)
    return np.stack([level, rng.normal(-5, 2, length)], axis=1).astype("f4")


def waves(count: int, seed: int = 0, **options) -> list[tuple[str, str, np.ndarray]]:
    """Return series as (id, kind, values), the kinds in turn, 16 to 48 steps long."""
    rng = np.random.default_rng(seed)
    kinds = [CLASSES[number % len(CLASSES)] for number in range(count)]
    return [
        (f"w{number}", kind, wave(kind, int(rng.integers(16, 49)), rng, **options))
        for number, kind in enumerate(kinds)
    ]


def write(path: Path, series, header=("place", "step", "level", "other", "kind")) -> Path:
    """Write a long table, one row a step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(header)
        for name, kind, values in series:
            out.writerows(
                [name, f"2024-01-{1 + step // 24:02}T{step % 24:02}:00", *map(float, row), kind]
                for step, row in enumerate(values)
            )
    return path


def recipe(folder: Path, data: Path) -> Path:
    """Write a recipe that trains in seconds on such a table."""
    path = folder / "waves.toml"
    path.write_text(f"""
task = "classify"
name = "waves-gru"
description = "waves of three periods"

[data]
source = "{data}"
id = "place"
label = "kind"
features = ["level", "other"]

[network]
kind = "gru"
hidden = 16
layers = 1

[fit]
epochs = 15
learning_rate = 0.02
""")
    return path


def plan(network=(), **changes) -> ClassifyRecipe:
    """Return a recipe with some of its network and of the rest changed, of no table."""
    data = {"source": "none.csv", "id": "id", "label": "kind", "features": ["x", "y"]}
    fields = {"task": "classify", "name": "kinds", "data": data, "network": dict(network)}
    return ClassifyRecipe.model_validate(fields | changes)
