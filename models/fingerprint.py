"""
Recognise data that a model was trained on, from a sketch of a few kilobytes.

Every stretch of ``STRETCH`` consecutive steps is hashed, so an excerpt is recognised however it was
cut (the k-grams of winnowing: Schleimer et al., 2003).  The smallest hashes are kept (a bottom-k
sketch: Broder, 1997): if a series was in the data, all its hashes that are as small are in the
sketch.  A stretch that was not in the data matches by chance once in 10^11.
"""

import base64
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STRETCH = 32  # steps
MOST = 1024  # hashes kept
_BYTES = 6  # of each hash
_DISTINCT = 8  # values that a stretch must have at least: a run of zeros identifies nothing
_CHUNK = 2**16  # stretches at a time

Array = NDArray[np.float32]
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]


class Overlap(NamedTuple):
    """What a series has in common with a sketch."""

    checked: int  # stretches that would be in the sketch, had the series been there
    found: int  # how many of them are
    end: int  # steps up to the end of the last one found; 0 if none


def sketch(series: Iterable[Array]) -> str:
    """Return the smallest hashes of all series, each (steps, targets), in base64."""
    kept = np.empty(0, np.uint64)
    for values in series:
        for _, hashes in _hashes(values):
            kept = np.unique(np.concatenate([kept, hashes]))[:MOST]
    packed = kept.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :_BYTES]
    return base64.b64encode(packed.tobytes()).decode()


def overlap(values: Array, kept: str) -> Overlap:
    """
    Look for a series (steps, targets) in a sketch.

    Raises ValueError for what is no sketch.
    """
    known = _unpack(kept)
    limit = known[-1] if len(known) == MOST else np.uint64(2 ** (8 * _BYTES) - 1)
    checked = found = end = 0
    for starts, hashes in _hashes(values):
        eligible = hashes <= limit
        there = np.isin(hashes, known)
        checked += int(eligible.sum())
        found += int(there.sum())
        end = max(end, int((starts[there] + STRETCH).max(initial=0)))
    return Overlap(checked, found, end)


def checked_sketch(kept: str) -> str:
    """Return a sketch as it is; raise ValueError for what is none."""
    _unpack(kept)
    return kept


def _unpack(kept: str) -> Hashes:
    packed = np.frombuffer(base64.b64decode(kept, validate=True), np.uint8)
    if len(packed) % _BYTES:
        raise ValueError(f"A sketch has {_BYTES} bytes a hash, this one {len(packed)}.")
    whole = np.zeros((len(packed) // _BYTES, 8), np.uint8)
    whole[:, :_BYTES] = packed.reshape(-1, _BYTES)
    hashes: Hashes = whole.view("<u8")[:, 0].astype(np.uint64)
    return np.sort(hashes)


def _hashes(values: Array) -> Iterator[tuple[Places, Hashes]]:
    """Yield the starts and hashes of stretches with enough distinct values, target by target."""
    for column in np.ascontiguousarray(values.T, dtype=np.float32):
        steps = _mixed(_bits(column))
        for start in range(0, len(steps) - STRETCH + 1, _CHUNK):
            stretches = np.lib.stride_tricks.sliding_window_view(
                steps[start : start + _CHUNK + STRETCH - 1], STRETCH
            )
            telling = (np.diff(np.sort(stretches, axis=1)) != 0).sum(axis=1) >= _DISTINCT - 1
            total = np.zeros(len(stretches), np.uint64)
            for step in range(STRETCH):  # a polynomial modulo 2^64
                total = total * np.uint64(0x9E3779B97F4A7C15) + stretches[:, step]
            chosen = np.flatnonzero(telling)
            yield chosen + start, _mixed(total[chosen]) >> np.uint64(64 - 8 * _BYTES)


def _bits(column: Array) -> Hashes:
    """Return the bits of each value, those of equal values and of all missing ones the same."""
    same = np.where(np.isnan(column), np.float32(np.nan), column + np.float32(0))  # -0 becomes 0
    return same.astype(np.float32).view(np.uint32).astype(np.uint64)


def _mixed(numbers: Hashes) -> Hashes:
    """Spread numbers over 64 bits (the finaliser of splitmix64)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
