"""Normalisation that no later step changes: what a stream can carry on with, step by step."""

from collections.abc import Mapping

import torch
from torch import Tensor

from training.architecture import Normalisation
from training.networks.normalise import (
    Normalised,
    Normaliser,
    Scaling,
    gather_steps,
    last_observed,
    valid_steps,
)
from training.networks.running import RunningMoments

Carried = dict[str, Tensor]  # name -> (batch, ...) float32; zeros where rows begin


class CausalNormaliser(Normaliser):
    """
    Measure each step by what came before it, so that a step once read need not be read again.

    "global" subtracts the mean of the training part and divides by its deviation.  "running"
    does so with the row's own, of every step so far (``RunningMoments``); the forecast is counted
    from the last observed value, in units of the deviation after it: what has just been seen is
    nearer to what comes than the mean of the past.  Covariates are standardised as ever.
    """

    def __init__(  # noqa: PLR0913  one fact each
        self,
        scaling: Scaling,
        targets: int,
        known: int,
        *,
        kind: Normalisation,
        missing: bool,
        stops_at_length: bool = False,
        memory: int | None = None,
        longest: int = 1,
    ) -> None:
        super().__init__(
            scaling, targets, known, kind=kind, missing=missing, stops_at_length=stops_at_length
        )
        self.moments = None if memory is None else RunningMoments(memory, longest)

    @property
    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """What a stream carries from step to step: name -> shape without the batch."""
        return (
            {}
            if self.moments is None
            else {"moments": (2, 3, self.targets), "last": (self.targets,)}
        )

    def forward(self, sequences: Tensor, lengths: Tensor) -> Normalised:
        """Take (batch, time, columns) in the data's units; NaN is a missing value."""
        return self.resume(sequences, lengths, {})[0]

    def resume(
        self, sequences: Tensor, lengths: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[Normalised, Carried]:
        """Do so from what the steps before have left, and return what these leave."""
        if torch.compiler.is_exporting() and not self._needs_masks:
            shift = self._level(sequences)
            targets = self.relative(sequences[..., : self.targets], shift)
            return Normalised(self._join(targets, sequences), targets, shift, None), {}
        valid = valid_steps(sequences, lengths)[..., None]  # (batch, time, 1)
        observed = valid & ~sequences.isnan() if self.missing else valid
        # Replaced before any arithmetic: NaN times zero is NaN.
        values = torch.where(observed, sequences, self.mean)
        seen = observed[..., : self.targets]
        targets, shift, spread, carried = self._measure(
            values[..., : self.targets], seen, lengths, state
        )
        inputs = self._join(targets, values)
        if self.missing:
            inputs = torch.cat([inputs, observed.to(values.dtype)], dim=-1)
        return Normalised(inputs, targets, shift, spread), carried

    def _measure(
        self, values: Tensor, seen: Tensor, lengths: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor | None, Carried]:
        """Return the targets as the network sees them, their shift and spread, and the state."""
        if self.moments is None:
            shift = self._level(values)
            return torch.where(seen, self.relative(values, shift), 0.0), shift, None, {}
        mean, scale = (each[: self.targets].double() for each in (self.mean, self.scale))
        exact = (values.double() - mean) / scale
        after = self.moments(exact, seen, state.get("moments"))
        targets = torch.where(seen, ((exact - after.mean) / after.deviation).float(), 0.0)
        if self.missing:
            before = state["last"][:, None] if state else 0.0
            last = last_observed(exact.float(), seen, before)
        else:
            last = gather_steps(exact.float(), lengths[:, None] - 1)
        shift = (last.double() * scale + mean).float()
        carried = {"moments": after.state, "last": last.squeeze(1)}
        return targets, shift, after.deviation[:, -1:].float(), carried

    def _level(self, rows: Tensor) -> Tensor:
        return self.mean[: self.targets].expand(rows.shape[0], 1, -1)  # len() would fix the batch
