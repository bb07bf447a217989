"""Positional encodings: sinusoidal, learned or rotary; none depends on a row's padding."""

import math

import torch
from torch import Tensor, nn

_BASE = 10_000.0


class Sinusoids(nn.Module):
    """Sinusoids (Vaswani et al. 2017) of the distance from the last valid step."""

    frequencies: Tensor

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        octave = torch.arange(0, hidden, 2) / hidden
        self.register_buffer("frequencies", torch.exp(-math.log(_BASE) * octave))

    def forward(self, lengths: Tensor, time: int) -> Tensor:
        """Return (batch, time, hidden)."""
        angles = _before_last(lengths, time)[..., None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
        return waves[..., : self.hidden]  # an odd width drops the last cosine


class LearnedPositions(nn.Module):
    """A learned vector for each distance from the last valid step, below ``longest``."""

    def __init__(self, longest: int, hidden: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(longest, hidden).normal_(std=0.02))

    def forward(self, lengths: Tensor, time: int) -> Tensor:
        """Return (batch, time, hidden); the values on padding have no meaning."""
        before_last = _before_last(lengths, time).clamp(0, len(self.table) - 1)
        return self.table[before_last]


class Rotary(nn.Module):
    """
    Rotary positions (Su et al. 2021, arXiv:2104.09864).

    Columns j and j + width / 2 of queries and keys are rotated by an angle proportional to the
    step, so that their product depends on the distance of the two steps only.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        octave = torch.arange(0, width, 2, dtype=torch.float64) / width
        self.register_buffer("frequencies", torch.exp(-math.log(_BASE) * octave) / math.tau)

    def forward(self, time: int) -> tuple[Tensor, Tensor]:
        """Return cosines and sines (time, width / 2)."""
        steps = torch.arange(time, device=self.frequencies.device, dtype=torch.float64)
        turns = steps[:, None] * self.frequencies
        # Whole turns go while in float64: at step 8,000 they would take half of float32's digits.
        angles = ((turns - turns.floor()) * math.tau).float()
        return angles.cos(), angles.sin()


def rotate(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Turn (..., time, width) by the cosines and sines (time, width / 2)."""
    cosines, sines = turns
    half = x.shape[-1] // 2
    one, other = x[..., :half], x[..., half:]
    return torch.cat([one * cosines - other * sines, other * cosines + one * sines], dim=-1)


def _before_last(lengths: Tensor, time: int) -> Tensor:
    """Return (batch, time): how many steps each is before the last valid one."""
    return lengths[:, None] - 1 - torch.arange(time, device=lengths.device)
