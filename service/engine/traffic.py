"""Divide requests among versions by weight: no clock, no tasks, no I/O."""

import zlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, TypeVar

_GOLDEN = 0.6180339887498949  # the golden ratio: its multiples modulo 1 fill [0, 1) evenly
_MIXER, _WORD = 0x9E3779B1, 0xFFFFFFFF

Choice = TypeVar("Choice")


def place(key: str, salt: int = 0) -> float:
    """Return a hash of a key in [0, 1], the same in every process."""
    return (zlib.crc32(key.encode(), salt) * _MIXER & _WORD) / _WORD


class Split(Generic[Choice]):
    """
    Divides requests by weight.

    A key always gets the same choice, in every process; requests without a key are divided as
    evenly as the weights allow.  If the weight of the last choice grows, it keeps all its keys.
    """

    __slots__ = ("_asked", "_bounds", "_salt", "choices", "main")

    def __init__(self, weights: Sequence[tuple[Choice, float]], salt: str = "") -> None:
        total = sum(weight for _, weight in weights)
        self.choices = [(choice, weight / total) for choice, weight in weights]
        self.main = max(self.choices, key=lambda each: each[1])[0]  # of equals the first
        self._bounds = list(accumulate(share for _, share in self.choices))[:-1]
        self._salt = zlib.crc32(salt.encode())
        self._asked = 0

    def choose(self, key: str | None) -> Choice:
        """Return the choice for a key, or the next one in turn."""
        if key is None:
            self._asked += 1
            point = self._asked * _GOLDEN % 1.0
        else:
            point = place(key, self._salt)
        return self.choices[bisect_right(self._bounds, point)][0]
