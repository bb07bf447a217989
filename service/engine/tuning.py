"""
Measure the time of a model's batches on this machine, t(size, steps), and keep it on disk.

The result is a ``CostGrid`` for the scheduler.  Where the cache cannot be read or written, each
load measures again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.contract import ModelCard
from service.engine.batcher import Runner
from service.engine.cache import Cache, key_of
from service.engine.costs import CostGrid
from service.engine.errors import ModelRejected
from service.engine.jobs import Clock, Row
from service.engine.scheduler import BatchPolicy

SIZES = (1, 2, 4, 8, 16, 32, 64)  # and on, doubled, where larger batches are allowed
SHORTEST = 8  # steps; shorter sequences cost about the same
REPEATS = 3
TOO_LONG = 0.1  # share of the budget; beyond a run of it, larger batches are extrapolated
PATIENCE = 60.0  # seconds for another process that measures the same
SCHEMA = 2  # version of the cached documents


def measure(
    runner: Runner,
    card: ModelCard,
    budget: float,
    clock: Clock = time.perf_counter,
    policy: BatchPolicy | None = None,
) -> CostGrid:
    """
    Run batches of growing size and length for about ``budget`` seconds; return their times.

    Each point is the least of a few runs, since any disturbance lengthens a run.  No batch of
    several sequences has more steps than the policy allows.  Raises ModelRejected for a batch
    that cannot be run, on a GPU without enough memory for one.
    """
    policy = policy or BatchPolicy()
    sizes, steps = sizes_up_to(policy.max_batch_size), _lengths(card)
    stopwatch = _Stopwatch(
        runner, clock, clock() + budget, TOO_LONG * budget, policy.max_batch_steps
    )
    columns = [stopwatch.column(card, sizes, length) for length in steps]
    rows = tuple(tuple(column[index] for column in columns) for index in range(len(sizes)))
    return CostGrid(sizes, steps, rows)


def sizes_up_to(largest: int) -> tuple[int, ...]:
    """Return the sizes to measure: powers of two, the last one not less than ``largest``."""
    sizes = list(SIZES)
    while sizes[-1] < largest:
        sizes.append(2 * sizes[-1])
    return tuple(sizes)


def _lengths(card: ModelCard) -> tuple[int, ...]:
    """Return four lengths in geometric progression, from the shortest to the longest."""
    longest = card.max_length
    shortest = min(longest, max(card.min_length, SHORTEST))
    ladder = np.geomspace(shortest, longest, 4)
    return tuple(sorted({round(float(length)) for length in ladder}))


@dataclass(frozen=True, slots=True)
class _Stopwatch:
    runner: Runner
    clock: Clock
    deadline: float
    longest: float  # seconds of one run, beyond which no larger batch is tried
    max_steps: int  # of a batch

    def column(self, card: ModelCard, sizes: Sequence[int], length: int) -> list[float]:
        """Return the times of batches of one length; those too slow to measure are extrapolated."""
        times: list[float] = []
        for size in sizes:
            late = self.clock() > self.deadline
            if times and (late or times[-1] > self.longest or size * length > self.max_steps):
                times.append(times[-1] * 2)  # the sizes double
            else:
                times.append(self._best(drawn(card, size, length)))
        return times

    def _best(self, rows: Sequence[Row]) -> float:
        try:
            self.runner.run(rows)  # the first run of a shape also allocates
            return max(min(self._once(rows) for _ in range(REPEATS)), 1e-9)
        except Exception as exc:  # the runtime's exceptions share no base class
            steps = len(rows[0].sequence)
            raise ModelRejected(
                f"A batch of {len(rows)} sequences of {steps} steps could not be run: {exc}"
            ) from exc

    def _once(self, rows: Sequence[Row]) -> float:
        started = self.clock()
        self.runner.run(rows)
        return self.clock() - started


def drawn(card: ModelCard, size: int, length: int) -> list[Row]:
    """Return random rows of one length, the same at each call."""
    random = np.random.default_rng(0)
    values = random.normal(size=(size, length, len(card.features))).astype(np.float32)
    future = np.zeros((card.horizon, len(card.known)), np.float32) if card.known else None
    return [Row(sequence, future) for sequence in values]


class CostCache:
    """Grids by model file, machine and runtime."""

    def __init__(self, folder: Path, runtime: str) -> None:
        self._grids: Cache[CostGrid] = Cache(folder, CostGrid.of, _document, PATIENCE)
        self._runtime = runtime

    def get(self, sha256: str, make: Callable[[], CostGrid]) -> CostGrid:
        """Return the grid of a model file, made now if it is not there; never by two at once."""
        return self._grids.get(key_of("costs", SCHEMA, sha256, self._runtime), make)


def _document(grid: CostGrid) -> dict[str, Any]:
    return {"sizes": grid.sizes, "steps": grid.steps, "seconds_at": grid.seconds_at}
