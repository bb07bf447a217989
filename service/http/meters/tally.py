"""A histogram's observations in plain numbers, until there is time to hand them on."""

from bisect import bisect_left

from prometheus_client import Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Tally:
    """
    Observations that are handed on together.

    A histogram that several processes share locks and writes a file at each observation, which
    costs a request more than everything else that is measured about it.
    """

    def __init__(self, histogram: Histogram) -> None:
        # The library has no way to observe many values at once; these are what its own
        # ``observe`` adds to.
        self._buckets, self._total = histogram._buckets, histogram._sum  # noqa: SLF001
        self._bounds = histogram._upper_bounds  # noqa: SLF001
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def flush(self) -> None:
        """Add what was counted to the histogram."""
        for place, count in enumerate(self._counts):
            if count:
                self._buckets[place].inc(count)
        self._total.inc(self._sum)
        self._counts, self._sum = [0] * len(self._bounds), 0.0
