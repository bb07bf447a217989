"""Estimate what a batch costs from a few measured points; nothing is timed here."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

NEAR_BEST = 0.97  # a smaller batch that comes so close to the best rate is the better one
# Seconds of a batch beside its run: a turn of the loop, the choice of the batch, two changes of
# thread.  Measured on a loaded service, as the difference between batches of 4 and of 14.
HAND_OVER = 250e-6


class Costs(Protocol):
    """Estimates the time of a batch."""

    @property
    def hand_over(self) -> float:
        """The seconds a batch takes beside its run."""

    def seconds(self, size: int, steps: int) -> float:
        """Return the seconds of one run of ``size`` sequences padded to ``steps``."""

    def useful_size(self, steps: int) -> int:
        """Return the size of batch beyond which throughput hardly grows."""


class Proportional:
    """Costs without a measurement: proportional to the padded steps, whatever the batch size."""

    hand_over = 0.0

    def seconds(self, size: int, steps: int) -> float:
        """Return a microsecond per padded step."""
        return size * steps * 1e-6

    def useful_size(self, steps: int) -> int:  # noqa: ARG002  part of the protocol
        """Return a size larger than any batch."""
        return 2**31


@dataclass(frozen=True)
class CostGrid:
    """
    Measured times t(size, steps) on a grid: bilinear between its points, linear beyond them.

    ``seconds_at[i][j]`` is the time of one run of ``sizes[i]`` sequences of ``steps[j]``.
    """

    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    seconds_at: tuple[tuple[float, ...], ...]
    hand_over: float = HAND_OVER
    _known: dict[tuple[int, int], float] = field(default_factory=dict, repr=False, compare=False)
    _useful: dict[int, int] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows, columns = len(self.sizes), len(self.steps)
        if min(rows, columns) < 1 or [len(row) for row in self.seconds_at] != [columns] * rows:
            raise ValueError("A grid of costs needs one time for each size and number of steps.")
        if list(self.sizes) != sorted(set(self.sizes)) or list(self.steps) != sorted(
            set(self.steps)
        ):
            raise ValueError("The sizes and steps of a grid of costs must increase.")
        if not all(second > 0 for row in self.seconds_at for second in row):
            raise ValueError("Every time in a grid of costs must be positive.")

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """
        Return the grid of a JSON document with ``sizes``, ``steps`` and ``seconds_at``.

        Raises KeyError, TypeError or ValueError where it is not one.
        """
        rows = tuple(tuple(map(float, row)) for row in kept["seconds_at"])
        return cls(tuple(kept["sizes"]), tuple(kept["steps"]), rows)

    def seconds(self, size: int, steps: int) -> float:
        """Return the seconds of one run, at least a tenth of the least of the points around."""
        key = size, steps
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= 2**16:
                self._known.clear()
            found = self._known[key] = self._interpolate(size, steps)
        return found

    def useful_size(self, steps: int) -> int:
        """
        Return the smallest measured size whose throughput is within 3 % of the best.

        The hand-over is included: without it, on some processors, a batch of 4 looks best.
        """
        found = self._useful.get(steps)
        if found is None:
            rates = [size / (self.seconds(size, steps) + self.hand_over) for size in self.sizes]
            near = NEAR_BEST * max(rates)
            pairs = zip(self.sizes, rates, strict=True)
            found = self._useful[steps] = next(size for size, rate in pairs if rate >= near)
        return found

    def _interpolate(self, size: int, steps: int) -> float:
        row, down = _place(self.sizes, size)
        column, right = _place(self.steps, steps)
        below, beside = min(row + 1, len(self.sizes) - 1), min(column + 1, len(self.steps) - 1)
        first, second = self.seconds_at[row], self.seconds_at[below]
        left = first[column] + down * (second[column] - first[column])
        other = first[beside] + down * (second[beside] - first[beside])
        least = min(first[column], first[beside], second[column], second[beside])
        return max(left + right * (other - left), 0.1 * least)


def _place(points: Sequence[int], value: int) -> tuple[int, float]:
    """Return the index of a value's cell, and its place in it: in [0, 1] unless extrapolated."""
    cell = max(0, min(bisect_right(points, value) - 1, len(points) - 2))
    if len(points) == 1:
        return 0, 0.0
    return cell, (value - points[cell]) / (points[cell + 1] - points[cell])
