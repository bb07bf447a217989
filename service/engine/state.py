"""Pack the state tensors of a row into one vector, and unpack them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from service.engine.jobs import Array, Row


class StateLayout:
    """The place of each tensor of a card's state in a row's vector."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = dict(shapes)
        sizes = [int(np.prod(shape, dtype=np.int64)) for shape in self.shapes.values()]
        ends = np.cumsum([0, *sizes]).tolist()
        self._places = {
            name: slice(*ends) for name, ends in zip(self.shapes, pairwise(ends), strict=True)
        }
        self.size: int = ends[-1]

    def gather(self, rows: Sequence[Row]) -> dict[str, Array]:
        """Return each tensor (batch, *shape) of the rows' states; zeros for rows without one."""
        states = np.zeros((len(rows), self.size), np.float32)
        for place, row in zip(states, rows, strict=True):
            if row.state is not None:
                place[:] = row.state
        return {
            name: np.ascontiguousarray(states[:, self._places[name]]).reshape(-1, *shape)
            for name, shape in self.shapes.items()
        }

    def fill(self, rows: Sequence[Row], tensors: Mapping[str, Array]) -> None:
        """Write what ``gather`` returns into tensors that are large enough, zeros behind it."""
        for name, state in self.gather(rows).items():
            tensors[name][: len(rows)] = state
            tensors[name][len(rows) :] = 0

    def join(self, tensors: Sequence[Array]) -> Array:
        """Return (batch, size) of all tensors (batch, *shape), in the card's order."""
        batch = len(tensors[0])
        return np.concatenate([tensor.reshape(batch, -1) for tensor in tensors], axis=1)
