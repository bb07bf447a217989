"""Mean and deviation of what a row has shown so far, forgetting; in the graph, step by step."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

PRIOR = 4.0  # steps that the global scale counts for, before a row has shown its own
_LEAST = 1e-6  # what keeps a flat row's deviation above zero, in units of the global scale


class Moments(NamedTuple):
    """What is known after each step."""

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
    is skipped: n does not grow.  The prior is a variance of 1, the global scale's, so that the
    first steps, which have not varied yet, are measured in sane units.

    All steps at once are running sums of a^-i (x_i - m_0) and a^-i (x_i - m_0)^2 in float64,
    divided by a^-n.  The state (2, 3, columns) is W, m and S, each as the sum of two float32, so
    that what is rounded away between two steps does not add up over 100,000 of them.  Zeros: no
    value was observed.

    ``longest`` is how many steps may come at once; more raise IndexError.
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
        Take (batch, time, columns) float64, of which those ``seen`` count, (.., columns or 1).

        ``state`` is that of the last call, None or zeros where rows begin.
        """
        if state is None:
            state = values.new_zeros(values.shape[0], 2, 3, values.shape[2])
        weight, mean, squares = state.double().sum(1)[:, :, None].unbind(1)
        growth = self.growth[seen.cumsum(1)]
        # From the mean on, so that a large level costs no digits.
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
        # Steps that are not seen change nothing, so the last one of all is each row's last.
        exact = torch.stack([weights, centres, squares], dim=1)[:, :, -1]  # (batch, 3, columns)
        high = exact.float()
        low = (exact - high.double()).float()
        return Moments(centres, deviation, torch.stack([high, low], dim=1))
