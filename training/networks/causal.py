"""Causal normalisation: no later step changes how a step is scaled, so a stream can go on."""

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

Carried = dict[str, Tensor]  # state by name, (batch, ...) float32; zeros before the first step


class CausalNormaliser(Normaliser):
    """
    Normalise each step by what came before it, so that a step is never read again.

    "global" standardises targets by the mean and deviation of the training part.  "running" does
    so by the row's own, over the steps so far (``RunningMoments``); its forecasts are relative to
    the last observed value, in units of the deviation after it.  Covariates are standardised by
    the training part.
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
        """The state of a stream: name -> shape without the batch."""
        return (
            {}
            if self.moments is None
            else {"moments": (2, 3, self.targets), "last": (self.targets,)}
        )

    def forward(self, sequences: Tensor, lengths: Tensor) -> Normalised:
        """Normalise (batch, time, columns) in the data's units; NaN is a missing value."""
        return self.resume(sequences, lengths, {})[0]

    def resume(
        self, sequences: Tensor, lengths: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[Normalised, Carried]:
        """As ``forward``, after the steps whose ``state`` is given; return the next state, too."""
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
        """Return the normalised targets, their shift and spread, and the next state."""
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
