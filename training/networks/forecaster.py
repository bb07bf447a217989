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
        predictions, attention = self.standardised(sequences, lengths, future)
        return self.normaliser.restore(predictions), attention

    def standardised(
        self, sequences: Tensor, lengths: Tensor, future: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Answer as ``forward`` does, in units of the training part's deviation."""
        batch: Normalised = self.normaliser(sequences, lengths)
        state, attention = self.reader(batch.inputs, lengths)
        ahead = self.normaliser.standardise_future(future) if future is not None else None
        predictions: Tensor = self.head(state, ahead)
        if self.skip is not None:
            predictions = predictions + self.skip(batch.targets, lengths)[..., None]
        return self.normaliser.lift(predictions, batch), attention

    def loss(
        self, sequences: Tensor, lengths: Tensor, future: Tensor | None, actuals: Tensor
    ) -> Tensor:
        """Return the standardised pinball loss; a NaN among the actuals is skipped."""
        predictions, _ = self.standardised(sequences, lengths, future)
        return pinball(self.levels, predictions, self.normaliser.standardise_targets(actuals))


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
