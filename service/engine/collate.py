"""Different lengths into one rectangle; knows nothing of models."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.engine.jobs import Array


def pad(sequences: Sequence[Array]) -> tuple[Array, NDArray[np.int64]]:
    """
    Stack sequences of (time, features) into (batch, time, features), zeros on the right.

    Returns the rectangle and the lengths (batch,).
    """
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    longest = int(lengths.max())
    if longest == int(lengths.min()):
        return np.stack(sequences), lengths
    padded = np.zeros((len(sequences), longest, sequences[0].shape[1]), dtype=np.float32)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded, lengths
