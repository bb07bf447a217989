"""A linear skip connection from the last steps of each target to the horizon."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.networks.normalise import gather_steps


class LinearSkip(nn.Module):
    """One linear map for all targets, from the last steps to the horizon (LSTNet, 2018)."""

    def __init__(self, steps: int, horizon: int) -> None:
        super().__init__()
        self.map = nn.Linear(steps, horizon, bias=False)
        nn.init.zeros_(self.map.weight)  # adds nothing at first

    def forward(self, targets: Tensor, lengths: Tensor) -> Tensor:
        """Map (batch, time, targets) to (batch, horizon, targets); steps before the start are 0."""
        answer: Tensor = self.map(self.recent(targets, lengths)).transpose(1, 2)
        return answer

    def recent(self, targets: Tensor, lengths: Tensor) -> Tensor:
        """Return the last steps of each row, (batch, targets, steps); 0 before its start."""
        count = self.map.in_features
        steps = lengths[:, None] - count + torch.arange(count, device=lengths.device)
        recent = gather_steps(targets, steps.clamp(min=0))  # (batch, steps, targets)
        return torch.where((steps >= 0)[..., None], recent, 0.0).transpose(1, 2)

    def start(self, weights: NDArray[np.float64], *, trained: bool) -> None:
        """Set the weights, (steps, horizon), and whether training changes them."""
        with torch.no_grad():
            self.map.weight.copy_(torch.from_numpy(weights.T))
        self.map.weight.requires_grad_(trained)
