"""The whole graph from a sequence in the data's units to probabilities; no training, no files."""

import torch
from torch import Tensor, nn

from training.networks.attention import SelfAttention
from training.networks.classes import ClassHead
from training.networks.normalise import Scaling, valid_steps
from training.networks.recurrent import Recurrent
from training.networks.segments import Segments


class Standardiser(nn.Module):
    """
    Standardise every column by one mean and scale, and say what is missing.

    ``stops_at_length`` means what it means in ``Normaliser``.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, scaling: Scaling, *, missing: bool, stops_at_length: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(scaling.mean.copy()))
        self.register_buffer("scale", torch.from_numpy(scaling.scale.copy()))
        self.missing = missing
        self._needs_masks = missing or not stops_at_length
        self.channels = len(scaling.mean) * (2 if missing else 1)

    def forward(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """Take (batch, time, columns) in the data's units to (batch, time, channels)."""
        if torch.compiler.is_exporting() and not self._needs_masks:
            plain: Tensor = (sequences - self.mean) / self.scale
            return plain
        valid = valid_steps(sequences, lengths)[..., None]  # (batch, time, 1)
        observed = valid & ~sequences.isnan() if self.missing else valid.expand_as(sequences)
        # Replaced before any arithmetic: NaN times zero is NaN.
        inputs = (torch.where(observed, sequences, self.mean) - self.mean) / self.scale
        if self.missing:
            inputs = torch.cat([inputs, observed.to(inputs.dtype)], dim=-1)
        return inputs


class Classifier(nn.Module):
    """Standardise, read, and say how probable each class is; ``segments`` may be left out."""

    def __init__(
        self,
        normaliser: Standardiser,
        reader: Recurrent | SelfAttention,
        head: ClassHead,
        *,
        segments: Segments | None = None,
    ) -> None:
        super().__init__()
        self.normaliser = normaliser
        self.segments = segments
        self.reader = reader
        self.head = head

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.head.out.out_features

    @property
    def attends(self) -> bool:
        """Whether the answer comes with attention weights."""
        return self.reader.attends

    @property
    def exact(self) -> bool:
        """Whether, once exported, a batch shows in no bit of an answer on CPU."""
        return self.reader.exact

    @property
    def target_scale(self) -> Tensor:
        """The scale (1,) by which errors compare: probabilities are compared as they are."""
        return torch.ones(1)

    def forward(self, sequences: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """
        Return the probabilities (batch, classes), and the attention (batch, time) or None.

        ``sequences`` is (batch, time, features), right of ``lengths`` (batch,) anything at all.
        """
        logits, attention = self.logits(sequences, lengths)
        return self.head.probabilities(logits), attention

    def logits(self, sequences: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits (batch, classes) before calibration, and the attention or None."""
        inputs, steps = self.normaliser(sequences, lengths), lengths
        if self.segments is not None:
            inputs, steps = self.segments(inputs, lengths)
        state, attention = self.reader(inputs, steps)
        if attention is not None and self.segments is not None:
            attention = self.segments.spread(attention, lengths, sequences.shape[1])
        return self.head(state), attention

    def loss(self, sequences: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """Return the cross entropy of labels (batch,), int64."""
        return self.head.loss(self.logits(sequences, lengths)[0], labels)
