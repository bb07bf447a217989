"""Pad sequences of different lengths into one array; knows nothing of models."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.engine.jobs import Array


def pad(sequences: Sequence[Array]) -> tuple[Array, NDArray[np.int64]]:
    """
    Stack sequences of (time, features) into (batch, time, features), zeros on the right.

    Returns the padded array and the lengths (batch,).
    """
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    longest = int(lengths.max())
    if longest == int(lengths.min()):
        return np.stack(sequences), lengths
    padded = np.zeros((len(sequences), longest, sequences[0].shape[1]), dtype=np.float32)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded, lengths


def fill(sequences: Sequence[Array], padded: Array, lengths: NDArray[np.int64]) -> None:
    """
    Write what ``pad`` returns into larger arrays, overwriting all that was there.

    Rows beyond the sequences become one step of zeros: ONNX Runtime aborts on rows of length 0.
    """
    for row, sequence in zip(padded, sequences, strict=False):
        row[: len(sequence)] = sequence
        row[len(sequence) :] = 0
    count = len(sequences)
    padded[count:] = 0
    lengths[:count] = [len(sequence) for sequence in sequences]
    lengths[count:] = 1
