"""What a batch costs: as it was measured and is foretold, and as it turns out."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.engine.costs import CostGrid

MEASURED = Path(__file__).parent / "bench-lstm.json"


def read(path: Path = MEASURED) -> CostGrid:
    """Return the measured costs of a file."""
    return CostGrid.of(json.loads(path.read_text(encoding="utf-8")))


def capacity(costs: CostGrid, lengths: Sequence[int]) -> float:
    """
    Return the sequences/s of one runner if each ran in a batch of its own length and the best size.

    Hardly to be reached: equal lengths would have to be there when they are wanted.
    """
    known = {
        length: min((costs.seconds(size, length) + costs.hand_over) / size for size in costs.sizes)
        for length in set(lengths)
    }
    return len(lengths) / sum(known[length] for length in lengths)


class Truth:
    """
    What batches really cost, which no rule knows.

    Two errors of the foretold, both lognormal with mean 1 and the same spread: one for each
    point of the grid, which stays, and one for each run.
    """

    def __init__(self, foretold: CostGrid, error: float, seed: int) -> None:
        self.foretold = foretold
        self._random = np.random.default_rng([seed, 1])
        self._error = error
        factors = self._factors(len(foretold.sizes) * len(foretold.steps))
        times = np.array(foretold.seconds_at) * factors.reshape(len(foretold.sizes), -1)
        self._mean = CostGrid(foretold.sizes, foretold.steps, tuple(map(tuple, times.tolist())))
        self._drawn: list[float] = []

    def seconds(self, size: int, steps: int) -> float:
        """Return the seconds of one more batch, run and hand-over; another one takes others."""
        if not self._drawn:
            self._drawn = self._factors(4096).tolist()
        run = self._mean.seconds(size, steps) * self._drawn.pop()
        return run + self.foretold.hand_over

    def _factors(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return self._random.lognormal(-(self._error**2) / 2, self._error, count)
