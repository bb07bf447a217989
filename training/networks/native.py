"""A stack of cells as native ONNX nodes with ``sequence_lens``; used in the export only."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from training.architecture import Cell
from training.networks.cells import State, parameters
from training.networks.stack import Direction, Reading, Stack

# Where each ONNX gate lies among torch's: iofc from ifgo, zrh from rzn.
_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
# ONNX Runtime's RNN node sums in another order for large batches, so a row's last bits would
# depend on its batch.  An RNN is therefore exported as a GRU with constant gates, given by their
# biases: z = 0 takes the candidate alone, r = 1 resets nothing.
_ACTIVATIONS, _ALPHA, _BETA = ["HardSigmoid", "Tanh"], [1.0], [0.0]
_Z, _R = 0.0, 1.0


def read(
    stack: Stack, inputs: Tensor, lengths: Tensor, starts: Sequence[State] | None = None
) -> Reading:
    """
    Read (batch, time, inputs) up to ``lengths``, from zeros or, in one direction, from ``starts``.

    The nodes themselves stop at each row's length, in both directions; beyond it the states are
    0, or what the layer norm makes of 0.
    """
    steps = lengths.to(torch.int32)
    sequence = inputs.transpose(0, 1)  # (time, batch, inputs): the only layout on CPU
    last, carried = sequence, []
    for number, layer in enumerate(stack.by_layer()):
        states, *ends = _node(stack, layer, sequence, steps, starts[number] if starts else ())
        sequence, last = _side_by_side(layer, states, 1), _side_by_side(layer, ends[0], 0)
        carried.append(tuple(end.squeeze(0) for end in ends) if starts else ())
    return Reading(sequence.transpose(0, 1), last, carried, None)


def _side_by_side(layer: Sequence[Direction], states: Tensor, dim: int) -> Tensor:
    """Normalise each direction's states and join them along the last axis instead of ``dim``."""
    if len(layer) == 1:
        normed: Tensor = layer[0].norm(states.squeeze(dim))
        return normed
    return torch.cat([each.norm(states.select(dim, way)) for way, each in enumerate(layer)], -1)


def _node(
    stack: Stack, layer: Sequence[Direction], sequence: Tensor, steps: Tensor, start: State
) -> Sequence[Tensor]:
    """Return the states (time, directions, batch, hidden), then the ends without the time."""
    time, batch, _ = sequence.shape
    ways, hidden = len(layer), stack.hidden
    attributes: dict[str, Any] = {"hidden_size": hidden}
    if ways > 1:
        attributes["direction"] = "bidirectional"
    shapes: list[list[int]] = [[time, ways, batch, hidden], [ways, batch, hidden]]
    if stack.kind == "lstm":
        shapes.append([ways, batch, hidden])
    else:
        attributes["linear_before_reset"] = int(stack.reset == "after")
    if stack.kind == "rnn":
        attributes["activations"] = _ACTIVATIONS * ways
        attributes["activation_alpha"] = _ALPHA * ways
        attributes["activation_beta"] = _BETA * ways
    weights = zip(*(_weights(stack.kind, each) for each in layer), strict=True)
    w, r, b = (torch.stack(each) if ways > 1 else each[0][None] for each in weights)
    outputs: Sequence[Tensor] = torch.onnx.ops.symbolic_multi_out(
        "LSTM" if stack.kind == "lstm" else "GRU",
        (sequence, w, r, b, steps, *(each[None] for each in start)),
        attributes,
        dtypes=[sequence.dtype] * len(shapes),
        shapes=shapes,
    )
    return outputs


def _weights(kind: Cell, direction: Direction) -> tuple[Tensor, Tensor, Tensor]:
    """Return W, R and B of ONNX, of one direction."""
    w, r, wb, rb = parameters(direction.cell)
    if kind == "rnn":
        w, r, rb = (torch.cat([torch.zeros_like(each)] * 2 + [each]) for each in (w, r, rb))
        wb = torch.cat([torch.full_like(wb, _Z), torch.full_like(wb, _R), wb])
    else:
        w, r, wb, rb = (_reorder(kind, each) for each in (w, r, wb, rb))
    return w, r, torch.cat([wb, rb])


def _reorder(kind: Cell, weights: Tensor) -> Tensor:
    order = _GATES[kind]
    size = len(weights) // len(order)
    # Slices, for the exporter folds what has one output; chunk has several.
    return torch.cat([weights[gate * size : (gate + 1) * size] for gate in order])
