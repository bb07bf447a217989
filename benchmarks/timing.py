"""Time a short piece of code on a machine that others use, too."""

import time
from collections.abc import Callable

_CALLS = 20  # in a series


def fastest(part: Callable[[], object], seconds: float) -> float:
    """Return the least mean time of a call over series of calls, repeated for ``seconds``."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        for _ in range(_CALLS):
            part()
        best = min(best, (time.perf_counter() - started) / _CALLS)
    return best
