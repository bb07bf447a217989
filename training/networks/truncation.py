"""Truncated backpropagation through time: gradients go back through the last steps only."""

import torch
from torch import Tensor
from torch.nn import functional

from training.networks.normalise import gather_steps
from training.networks.stack import Reading, Stack


def read_truncated(
    stack: Stack, inputs: Tensor, lengths: Tensor, steps: int, *, energy: bool = False
) -> Reading:
    """
    Read as ``stack`` does, with gradients through the last ``steps`` valid steps of each row only.

    This is BPTT(h) of Williams and Peng (1990) with h = ``steps``: the values are those of the
    whole row, the gradient goes back through exactly the last ``steps`` valid steps of each row,
    in all layers.  The steps before are read without a graph, so that memory and the backward
    pass cost ``steps``, not the length.  ``energy`` is that of the last ``steps``.  For a stack
    in one direction only.
    """
    before = inputs.shape[1] - steps
    if before <= 0:
        whole: Reading = stack(inputs, lengths, energy=energy)
        return whole
    started = (lengths - steps).clamp(min=0)  # (batch,): where learning starts
    with torch.no_grad():
        past = stack(inputs[:, :before], started, ends=True)
    recent = gather_steps(inputs, started[:, None] + torch.arange(steps, device=inputs.device))
    present: Reading = stack(recent, lengths - started, past.ends, energy=energy)
    since = torch.arange(inputs.shape[1], device=inputs.device) - started[:, None]  # (batch, time)
    states = torch.where(
        (since >= 0)[..., None],
        gather_steps(present.states, since.clamp(0, steps - 1)),
        functional.pad(past.states, (0, 0, 0, steps)),
    )
    return present._replace(states=states)
