"""Join several steps into one (patches), which shortens long rows for the encoder."""

import torch
from torch import Tensor, nn

from training.networks.normalise import gather_steps


class Segments(nn.Module):
    """
    Cut each row into segments of ``size`` steps from its end, each embedded as one step.

    A cell that reads segments instead of steps forgets less and runs ``size`` times fewer steps
    (SegRNN, Lin et al. 2023, arXiv:2308.11200; patches of PatchTST, Nie et al., ICLR 2023).
    The first segment of a row whose length is no multiple of ``size`` is padded with zeros in
    front.
    """

    def __init__(self, channels: int, size: int, hidden: int) -> None:
        super().__init__()
        self.size = size
        self.embed = nn.Linear(channels * size, hidden)

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return (batch, segments, hidden) of (batch, time, channels), and how many are valid.

        Segments are in the order of time; those beyond the valid ones are finite.
        """
        counts = (lengths + self.size - 1) // self.size
        width = (inputs.shape[1] + self.size - 1) // self.size * self.size
        steps = (lengths - counts * self.size)[:, None] + torch.arange(width, device=inputs.device)
        taken = gather_steps(inputs, steps.clamp(min=0, max=inputs.shape[1] - 1))
        inside = (steps >= 0) & (steps < lengths[:, None])
        cut = torch.where(inside[..., None], taken, 0.0)
        flat = cut.reshape(cut.shape[0], -1, self.size * inputs.shape[2])
        return torch.relu(self.embed(flat)), counts

    def spread(self, weights: Tensor, lengths: Tensor, time: int) -> Tensor:
        """Divide the weight of each segment, (batch, segments), among its steps (batch, time)."""
        counts = (lengths + self.size - 1) // self.size
        first = lengths - counts * self.size  # of the first segment, at most 0
        step = torch.arange(time, device=weights.device)
        segment = (step - first[:, None]) // self.size
        shared = weights.gather(1, segment.clamp(max=weights.shape[1] - 1))
        size = torch.where(segment == 0, (self.size + first)[:, None], self.size)
        valid = step < lengths[:, None]
        return torch.where(valid, shared / size, 0.0)
