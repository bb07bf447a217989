"""The whole graph from the data's units to the data's units; no training, no files."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.networks.attention import SelfAttention
from training.networks.heads import QuantileHead, pinball
from training.networks.normalise import Normalised, Normaliser, gather_steps
from training.networks.recurrent import Recurrent


class Forecaster(nn.Module):
    """Normalise, read, answer every step and quantile at once, and undo the normalisation."""

    levels: Tensor

    def __init__(
        self,
        normaliser: Normaliser,
        reader: Recurrent | SelfAttention,
        head: QuantileHead,
        *,
        quantiles: Sequence[float],
        linear_steps: int = 0,
    ) -> None:
        super().__init__()
        self.normaliser = normaliser
        self.reader = reader
        self.head = head
        self.register_buffer("levels", torch.tensor(quantiles, dtype=torch.float32))
        self.skip = _LinearSkip(linear_steps, head.shape[0]) if linear_steps else None

    @property
    def attends(self) -> bool:
        """Whether the answer comes with attention weights."""
        return self.reader.attends

    @property
    def target_scale(self) -> Tensor:
        """The scale (targets,) by which errors of different targets compare."""
        return self.normaliser.scale[: self.normaliser.targets]

    def forward(
        self, sequences: Tensor, lengths: Tensor, future: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """
        Return predictions (batch, horizon, targets, quantiles), in the data's units.

        ``sequences`` is (batch, time, features), right of ``lengths`` (batch,) anything at all;
        ``future`` is (batch, horizon, known) for a network with known covariates.  The second
        value is the attention (batch, time) of a network that attends, else None.
        """
        relative, batch, attention = self._answer(sequences, lengths, future)
        if batch.spread is not None:
            relative = relative * batch.spread[..., None]
        return self.normaliser.restore(relative, batch.shift), attention

    def loss(
        self, sequences: Tensor, lengths: Tensor, future: Tensor | None, actuals: Tensor
    ) -> Tensor:
        """
        Return the pinball loss in the units the network sees; a NaN among the actuals is skipped.

        Those are the global scale, or each row's own spread where the normalisation is reversible.
        """
        normalised, batch, _ = self._answer(sequences, lengths, future)
        wanted = self.normaliser.relative(actuals, batch.shift)
        if batch.spread is not None:
            wanted = wanted / batch.spread
        return pinball(self.levels, normalised, wanted)

    def _answer(
        self, sequences: Tensor, lengths: Tensor, future: Tensor | None
    ) -> tuple[Tensor, Normalised, Tensor | None]:
        """Answer in the units the network sees."""
        batch: Normalised = self.normaliser(sequences, lengths)
        state, attention = self.reader(batch.inputs, lengths)
        ahead = self.normaliser.standardise_future(future) if future is not None else None
        normalised: Tensor = self.head(state, ahead)
        if self.skip is not None:
            normalised = normalised + self.skip(batch.targets, lengths)[..., None]
        return normalised, batch, attention


class _LinearSkip(nn.Module):
    """One linear map for all targets, from the last steps to the horizon (LSTNet, 2018)."""

    def __init__(self, steps: int, horizon: int) -> None:
        super().__init__()
        self.map = nn.Linear(steps, horizon, bias=False)
        nn.init.zeros_(self.map.weight)  # at first, only the network speaks

    def forward(self, targets: Tensor, lengths: Tensor) -> Tensor:
        """Take (batch, time, targets) to (batch, horizon, targets); before the start, zeros."""
        count = self.map.in_features
        steps = lengths[:, None] - count + torch.arange(count, device=lengths.device)
        recent = gather_steps(targets, steps.clamp(min=0))  # (batch, steps, targets)
        recent = torch.where((steps >= 0)[..., None], recent, 0.0)
        answer: Tensor = self.map(recent.transpose(1, 2)).transpose(1, 2)
        return answer
