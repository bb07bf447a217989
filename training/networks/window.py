"""A window of steps of each row: its steps, and weights over it scattered back to all steps."""

import torch
from torch import Tensor


def window_steps(first: Tensor, count: int) -> Tensor:
    """Return the steps (batch, count) from ``first`` (batch,) on; some may be outside a row."""
    return first[:, None] + torch.arange(count, device=first.device)


def exist(steps: Tensor, lengths: Tensor) -> Tensor:
    """Return which steps of (batch, count) are valid steps of their row."""
    return (steps >= 0) & (steps < lengths[:, None])


def within(steps: Tensor, time: int) -> Tensor:
    """Clamp steps to those that can be gathered."""
    return steps.clamp(0, time - 1)


def lay_back(weights: Tensor, first: Tensor, time: int) -> Tensor:
    """Return (batch, time): the weights (batch, count) from ``first`` (batch,) on, 0 elsewhere."""
    count = weights.shape[1]
    place = torch.arange(time, device=first.device) - first[:, None]
    inside = (place >= 0) & (place < count)
    return torch.where(inside, weights.gather(1, place.clamp(0, count - 1)), 0.0)
