"""Truncated backpropagation through time: all steps are read, the last few learn."""

import torch
from torch import Tensor
from torch.nn import functional

from training.networks.normalise import gather_steps
from training.networks.stack import Reading, Stack


def read_truncated(
    stack: Stack, inputs: Tensor, lengths: Tensor, steps: int, *, energy: bool = False
) -> Reading:
    """
    Read as ``stack`` does, forgetting how each row came to be where it is ``steps`` before its end.

    This is BPTT(h) of Williams and Peng (1990) with h = ``steps``: the answer is that of the
    whole row, its gradient goes back through exactly the last ``steps`` valid steps of each row,
    in all layers, whatever the lengths of the others are.  What lies before is read without
    a graph, so that memory and the way back cost ``steps``, not the length.  ``energy`` is that
    of the last ``steps``.  A stack in one direction alone.
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
