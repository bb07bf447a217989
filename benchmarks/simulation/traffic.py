"""Who arrives when: bursts, heavy-tailed lengths, and some requests of many sequences."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHORTEST, LONGEST = 8, 2048
MEDIAN, SPREAD = 64, 1.0  # of the lognormal lengths
MANY = 0.05  # of all requests hold more than one sequence:
FEWEST, MOST, TAIL = 2, 128, 1.1  # so many, Pareto with this exponent
BURST = 0.005  # seconds, each
PEAK = 2.0  # what a burst adds, in units of the capacity, whatever the mean load
IN_BURSTS = 0.5  # of all requests


@dataclass(frozen=True, slots=True)
class Crowd:
    """Requests and the lengths of their sequences, in the order of arrival."""

    lengths: NDArray[np.int64]  # by sequence
    counts: NDArray[np.int64]  # sequences, by request


def crowd(requests: int, seed: int) -> Crowd:
    """Draw so many requests."""
    random = np.random.default_rng([seed, 2])
    many = np.clip(FEWEST * (1 + random.pareto(TAIL, requests)), FEWEST, MOST)
    counts = np.where(random.random(requests) < MANY, many, 1).astype(np.int64)
    drawn = random.lognormal(np.log(MEDIAN), SPREAD, counts.sum())
    return Crowd(np.clip(drawn, SHORTEST, LONGEST).astype(np.int64), counts)


def times(requests: int, seconds: float, load: float, seed: int) -> list[float]:
    """
    Draw when so many requests arrive: spread over ``seconds``, Poisson with two rates.

    Every burst is as strong and as long at any load; a higher load has more of them, and a
    higher rate between them.  None overlap.
    """
    random = np.random.default_rng([seed, 3])
    bursts = round(IN_BURSTS * load * seconds / (PEAK * BURST))
    calm = load - PEAK * BURST * bursts / seconds
    starts = np.sort(random.uniform(0, seconds - BURST * bursts, bursts))
    starts += BURST * np.arange(bursts)
    edges = np.concatenate([[0.0], np.stack([starts, starts + BURST], 1).ravel(), [seconds]])
    rates = calm + PEAK * (np.arange(len(edges) - 1) % 2)
    expected = np.concatenate([[0.0], np.cumsum(rates * np.diff(edges))])
    places = np.sort(random.uniform(0, expected[-1], requests))
    found: list[float] = np.interp(places, expected, edges).tolist()
    return found
