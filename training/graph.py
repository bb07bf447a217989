"""A network with exactly the inputs and outputs that its ONNX file will have."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.contract import (
    ATTENTION,
    FUTURE,
    LENGTHS,
    NEXT_STATE,
    PREDICTIONS,
    SEQUENCES,
    STATE,
    ModelCard,
    StateKind,
    StateSpec,
)
from training.networks import Classifier, Forecaster

Network = Forecaster | Classifier
Arrays = dict[str, NDArray[Any]]


class Graph(nn.Module):
    """
    A copy of a network on the CPU, called with the inputs of the file in their order.

    The graph of a network that streams takes a state and returns the next; zeros begin a stream.
    """

    def __init__(self, network: Network, card: ModelCard) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().eval()
        self.tensors = state_of(network).tensors
        self.has_future = bool(card.known)
        state = [STATE + name for name in self.tensors]
        self.inputs = [SEQUENCES, LENGTHS, *([FUTURE] if card.known else []), *state]
        attention = [ATTENTION] if network.attends else []
        self.outputs = [PREDICTIONS, *attention, *(NEXT_STATE + name for name in self.tensors)]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, in the order of ``outputs``, of inputs in the order of ``inputs``."""
        network = self.network
        if not self.tensors or isinstance(network, Classifier):
            predictions, attention = network(*inputs)
            return (predictions,) if attention is None else (predictions, attention)
        sequences, lengths, *rest = inputs
        future = rest.pop(0) if self.has_future else None
        state = dict(zip(self.tensors, rest, strict=True))
        predictions, carried = network.resume(sequences, lengths, future, state)
        return (predictions, *(carried[name] for name in self.tensors))

    def arguments(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[Tensor, ...]:
        """Return the arguments of ``forward`` from arrays by name."""
        return tuple(torch.from_numpy(arrays[name]) for name in self.inputs)

    @torch.no_grad()
    def answer(self, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs of arrays by name, in the order of ``outputs``."""
        return [each.numpy() for each in self(*self.arguments(arrays))]


def state_of(network: Network) -> StateSpec:
    """Return the state that a stream of this network keeps."""
    if isinstance(network, Classifier) or not network.state_shapes:
        return StateSpec()
    return StateSpec(kind=StateKind.RECURRENT, tensors=dict(network.state_shapes))


def begin(spec: StateSpec, batch: int) -> Arrays:
    """Return the state inputs of rows before their first step: zeros."""
    return {
        STATE + name: np.zeros((batch, *shape), np.float32) for name, shape in spec.tensors.items()
    }
