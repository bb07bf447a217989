"""Round the shape (batch, time) of a batch up, so that few different shapes run."""

from typing import NamedTuple

STEPS_PER_OCTAVE = 4


class Bucket(NamedTuple):
    """The shape that a batch is padded to."""

    size: int  # rows
    steps: int  # time steps


def bucket_of(size: int, steps: int, longest: int) -> Bucket:
    """
    Return the least bucket that holds ``size`` rows of ``steps``, steps at most ``longest``.

    Each side grows by less than a quarter, so the rectangle by less than 9/16.  A side has four
    buckets an octave, 44 up to 4,096.
    """
    return Bucket(round_up(size), min(round_up(steps), longest))


def round_up(number: int) -> int:
    """Return the least of 1..8, 10, 12, 14, 16, 20, 24, 28, 32, 40, ... that is not less."""
    octave = 1 << number.bit_length() - 1  # the largest power of 2 that is not more
    unit = max(1, octave // STEPS_PER_OCTAVE)
    return -(-number // unit) * unit
