"""A network as the file will have it: the inputs and outputs of the contract, by name."""

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
    A copy of the network on the CPU that has exactly the inputs and outputs of the file.

    A network that streams reads on from its state, and begins where the state is zeros.
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
        """Answer the inputs in the order of their names."""
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
        """Return what ``forward`` takes of arrays by name."""
        return tuple(torch.from_numpy(arrays[name]) for name in self.inputs)

    @torch.no_grad()
    def answer(self, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Answer arrays by name, in the order of the outputs."""
        return [each.numpy() for each in self(*self.arguments(arrays))]


def state_of(network: Network) -> StateSpec:
    """Return what a stream of this network must keep."""
    if isinstance(network, Classifier) or not network.state_shapes:
        return StateSpec()
    return StateSpec(kind=StateKind.RECURRENT, tensors=dict(network.state_shapes))


def begin(spec: StateSpec, batch: int) -> Arrays:
    """Return the state inputs of rows of which nothing has been read."""
    return {
        STATE + name: np.zeros((batch, *shape), np.float32) for name, shape in spec.tensors.items()
    }
