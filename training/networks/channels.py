"""Channel independence: each target becomes a row of its own for one shared network."""

from itertools import chain

import torch
from torch import Tensor, nn


class IndependentChannels(nn.Module):
    """
    Give each target a row of its own, with the covariates beside it (Nie et al., ICLR 2023).

    The same weights read every target: seven targets make seven times as many rows to learn from,
    and no target's noise reaches another's forecast.
    """

    own: Tensor

    def __init__(self, targets: int, columns: int, *, missing: bool) -> None:
        super().__init__()
        self.targets = targets
        shared = range(targets, columns)
        rows = [[target, *shared] for target in range(targets)]
        if missing:  # each column's mask lies as far behind it as there are columns
            rows = [[*row, *(columns + column for column in row)] for row in rows]
        self.width = len(rows[0])
        self.register_buffer("own", torch.tensor(list(chain(*rows))))

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return (batch * targets, time, width) of (batch, time, channels), and their lengths."""
        taken = inputs[..., self.own].reshape(*inputs.shape[:2], self.targets, self.width)
        return taken.transpose(1, 2).flatten(0, 1), self.repeat(lengths)

    def repeat(self, values: Tensor) -> Tensor:
        """Repeat (batch, ...) for each target: (batch * targets, ...)."""
        shape = (-1, self.targets, *values.shape[1:])
        return values[:, None].expand(shape).flatten(0, 1)

    def join(self, answers: Tensor) -> Tensor:
        """Return (batch, horizon, targets * any) of (batch * targets, horizon, any)."""
        return answers.reshape(-1, self.targets, *answers.shape[1:]).transpose(1, 2).flatten(2)

    def part(self, joined: Tensor) -> Tensor:
        """Return (batch * targets, ...) of (batch, targets, ...): a row for each target."""
        return joined.flatten(0, 1)

    def gather(self, parted: Tensor) -> Tensor:
        """Return (batch, targets, ...) of (batch * targets, ...)."""
        return parted.reshape(-1, self.targets, *parted.shape[1:])

    def mean(self, weights: Tensor) -> Tensor:
        """Return (batch, time) of (batch * targets, time): the mean over the targets."""
        return weights.reshape(-1, self.targets, weights.shape[1]).mean(1)
