"""Exponentially weighted mean and deviation of a row up to each step, inside the graph."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

PRIOR = 4.0  # steps that the prior variance, that of the global scale, counts for at first
_LEAST = 1e-6  # what keeps a flat row's deviation above zero, in units of the global scale


class Moments(NamedTuple):
    """The moments after each step."""

    mean: Tensor  # (batch, time, columns) float64
    deviation: Tensor  # (batch, time, columns) float64, above zero
    state: Tensor  # (batch, 2, 3, columns) float32, after the last step


class RunningMoments(nn.Module):
    """
    Exponentially weighted mean and deviation of every step so far, that one included.

    With a = 1 - 1 / memory, over the observed values x_1 .. x_n of a row,

        W_n = sum a^(n-i) = 1 + a W_(n-1)
        m_n = sum a^(n-i) x_i / W_n = m_(n-1) + (x_n - m_(n-1)) / W_n
        S_n = sum a^(n-i) (x_i - m_n)^2 = a S_(n-1) + (x_n - m_(n-1)) (x_n - m_n)
        deviation^2 = (S_n + P_n) / (W_n + P_n),  P_n = PRIOR a^n = PRIOR (1 - W_n / memory)

    which is the update of West (Comm. ACM 22, 1979) with weights that fade, as in Finch,
    "Incremental calculation of weighted mean and variance" (2009), section 9.  A missing value
    is skipped: n does not grow.  The prior is a variance of 1, that of the global scale, since the
    first steps alone do not tell a deviation.

    All steps at once are running sums of a^-i (x_i - m_0) and a^-i (x_i - m_0)^2 in float64,
    divided by a^-n.  The state (2, 3, columns) is W, m and S, each as the sum of two float32, so
    that rounding between steps does not add up over 100,000 of them.  Zeros mean that no value
    was observed.

    ``longest`` is the largest number of steps in one call; more raise IndexError.
    """

    growth: Tensor

    def __init__(self, memory: int, longest: int) -> None:
        super().__init__()
        self.memory = memory
        ratio = torch.tensor(1 - 1 / memory, dtype=torch.float64)
        powers = ratio ** -torch.arange(longest + 1, dtype=torch.float64)
        self.register_buffer("growth", powers, persistent=False)

    def forward(self, values: Tensor, seen: Tensor, state: Tensor | None) -> Moments:
        """
        Return the moments of (batch, time, columns) float64 over the values that are ``seen``.

        ``seen`` is (batch, time, columns or 1); ``state`` is that of the last call, None or zeros
        before the first step.
        """
        if state is None:
            state = values.new_zeros(values.shape[0], 2, 3, values.shape[2])
        weight, mean, squares = state.double().sum(1)[:, :, None].unbind(1)
        growth = self.growth[seen.cumsum(1)]
        # Relative to the mean, so that a large level loses no digits.
        moved = torch.where(seen, values - mean, 0.0)
        grown = moved * growth
        first = grown.cumsum(1) / growth
        second = (squares + (grown * moved).cumsum(1)) / growth
        # The sum of the weights in closed form; as wide as the values, whatever ``seen`` is.
        weights = (self.memory - (self.memory - weight) / growth).expand_as(values)
        shift = first / weights.clamp(min=1.0)
        centres = mean + shift
        squares = (second - first * shift).clamp(min=0.0)
        prior = PRIOR * (1 - weights / self.memory)
        deviation = ((squares + prior) / (weights + prior)).sqrt() + _LEAST
        # Unseen steps change nothing, so the state after the last step is that of each row's end.
        exact = torch.stack([weights, centres, squares], dim=1)[:, :, -1]  # (batch, 3, columns)
        high = exact.float()
        low = (exact - high.double()).float()
        return Moments(centres, deviation, torch.stack([high, low], dim=1))
