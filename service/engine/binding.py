"""
Run a session by ONNX Runtime's IO binding, from input buffers that are reused.

Written for CUDA, where it saves allocations and, with page-locked memory, a copy on the host.
The caller supplies the allocators, so nothing is imported from the runtime here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from models.contract import FUTURE, LENGTHS, SEQUENCES, STATE, ModelCard
from service.engine.buckets import Bucket, bucket_of
from service.engine.buffers import Pool
from service.engine.collate import fill
from service.engine.jobs import Array, Row
from service.engine.state import StateLayout

CAPACITY = 64 * 2**20  # bytes of buffers kept between runs, a model


class HostTensor(NamedTuple):
    """A tensor in host memory, as numpy and as the runtime see it."""

    array: NDArray[Any]
    value: Any  # an OrtValue


class Allocate(Protocol):
    """Makes a tensor on the host."""

    def __call__(self, shape: Sequence[int], dtype: type[np.generic]) -> HostTensor:
        """Return a tensor of a shape; what is in it does not matter."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of one bucket's graph."""

    tensors: dict[str, HostTensor]
    states: dict[str, Array]  # those of them that are a state, by the name in the card
    layout: StateLayout

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors."""
        return sum(tensor.array.nbytes for tensor in self.tensors.values())

    def write(self, rows: Sequence[Row]) -> None:
        """Overwrite the buffers with rows, and with rows of one step to fill the bucket."""
        fill(
            [row.sequence for row in rows],
            self.tensors[SEQUENCES].array,
            self.tensors[LENGTHS].array,
        )
        if FUTURE in self.tensors:
            future = self.tensors[FUTURE].array
            for place, row in zip(future, rows, strict=False):
                place[...] = row.future
            future[len(rows) :] = 0
        if self.states:
            self.layout.fill(rows, self.states)


class BoundSession:
    """A session fed by IO binding; may be run by several threads at once."""

    def __init__(
        self,
        session: Any,  # noqa: ANN401  an InferenceSession
        card: ModelCard,
        layout: StateLayout,
        pageable: Allocate,
        pinned: Allocate,
    ) -> None:
        self._session = session
        self._card = card
        self._layout = layout
        self._pageable = pageable
        self._pinned = pinned
        self.pool = Pool(self._inputs, CAPACITY)

    def run(
        self,
        fetches: Sequence[str],
        rows: Sequence[Row],
        options: Any,  # noqa: ANN401  RunOptions
    ) -> list[Array]:
        """Return the outputs for the rows, each (batch, ...) without what filled the bucket."""
        longest = max(len(row.sequence) for row in rows)
        bucket = bucket_of(len(rows), longest, max(longest, self._card.max_length))
        with self.pool.lend(bucket) as inputs:
            inputs.write(rows)
            # A new binding each time, for one copies to the device when an input is bound, not
            # when it is run, and writes its next outputs over its last.
            binding = self._session.io_binding()
            for name, tensor in inputs.tensors.items():
                binding.bind_ortvalue_input(name, tensor.value)
            for name in fetches:
                binding.bind_output(name, "cpu")
            binding.synchronize_inputs()
            self._session.run_with_iobinding(binding, options)
            outputs = cast(list[Array], binding.copy_outputs_to_cpu())
        return [output[: len(rows)] for output in outputs]

    def _inputs(self, bucket: Bucket) -> Inputs:
        card = self._card
        shapes: dict[str, tuple[Allocate, tuple[int, ...], type[np.generic]]] = {
            SEQUENCES: (self._pinned, (*bucket, len(card.features)), np.float32),
            # The graph reads the lengths on the host.
            LENGTHS: (self._pageable, (bucket.size,), np.int64),
        }
        if card.known:
            shape = bucket.size, card.horizon, len(card.known)
            shapes[FUTURE] = self._pinned, shape, np.float32
        for name, each in card.state.tensors.items():
            shapes[STATE + name] = self._pinned, (bucket.size, *each), np.float32
        tensors = {name: make(shape, dtype) for name, (make, shape, dtype) in shapes.items()}
        states = {name: tensors[STATE + name].array for name in card.state.tensors}
        return Inputs(tensors, states, self._layout)
