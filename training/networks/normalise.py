"""Normalisation inside the graph: padding, missing values, scaling; it knows no network."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.architecture import Normalisation

# What keeps a flat row's spread above zero: a share of its own level, and of the global scale.
_FLAT = 1e-4
_LEAST = 1e-6
_UNSPREAD = ("last", "standard", "global")  # all rows in the same units
OWN_UNITS = ("reversible", "running")  # the loss, too, is in each row's own units


@dataclass(frozen=True, slots=True)
class Scaling:
    """One mean and one scale per column, learnt from the training part alone."""

    mean: NDArray[np.float32]  # (columns,)
    scale: NDArray[np.float32]  # (columns,)

    @classmethod
    def learn(cls, values: NDArray[np.floating]) -> Self:
        """
        Return the mean and the population deviation of each column of (rows, columns).

        NaN is skipped.  A column that does not vary has the scale 1, one never observed the
        mean 0 as well.
        """
        table = values.astype(np.float64)
        observed = ~np.isnan(table)
        count = np.maximum(observed.sum(axis=0), 1)
        mean = np.where(observed, table, 0.0).sum(axis=0) / count
        scale = np.sqrt(np.where(observed, (table - mean) ** 2, 0.0).sum(axis=0) / count)
        varies = scale > np.finfo(np.float32).eps * np.abs(mean)
        return cls(mean.astype(np.float32), np.where(varies, scale, 1.0).astype(np.float32))

    def with_changes(self, changes: NDArray[np.float32]) -> Self:
        """
        Return a scaling with the typical change of each target, (targets,), as its scale.

        A series that drifts varies far more over its whole length than within a window: in units
        of the whole, what happens in a window would be too small to learn from.  A change that is
        zero or unknown leaves its target's scale as it is.
        """
        scale = self.scale.copy()
        scale[: len(changes)] = np.where(changes > 0, changes, scale[: len(changes)])
        return replace(self, scale=scale)


class Normalised(NamedTuple):
    """A normalised batch, and what undoes the normalisation."""

    inputs: Tensor  # (batch, time, channels), 0 where padded or missing
    targets: Tensor  # (batch, time, targets), likewise
    shift: Tensor  # (batch, 1, targets), in the data's units
    spread: Tensor | None  # (batch, 1, targets), in units of the scale; None: 1


def valid_steps(sequences: Tensor, lengths: Tensor) -> Tensor:
    """Return (batch, time), true for the steps within each row's length."""
    steps = torch.arange(sequences.shape[1], device=sequences.device)
    return steps[None] < lengths[:, None]


def gather_steps(sequences: Tensor, steps: Tensor) -> Tensor:
    """Gather the steps (batch, n) of (batch, time, columns): (batch, n, columns)."""
    return sequences.gather(1, steps[..., None].expand(-1, -1, sequences.shape[-1]))


class Normaliser(nn.Module):
    """
    Standardise the covariates, and normalise each row's targets by the row itself.

    "last" subtracts the last observed value, and so does "standard", whose units are the
    deviation of the whole training part and not how far targets move.  "reversible" subtracts
    the row's mean and divides by its deviation (RevIN, Kim et al., ICLR 2022, without the
    learnt affine map), so that series of very different size are alike to the network; "scaled"
    subtracts the last observed value and divides by the deviation.  A row in which a target was
    never observed keeps the global mean and scale.  No answer depends on the padding, in any
    bit: row statistics are gathered or summed from left to right.

    ``stops_at_length`` says that the exported network itself reads no further than each row's
    length.  The padding then needs no mask, which would cost a served batch several passes.
    """

    mean: Tensor
    scale: Tensor

    def __init__(  # noqa: PLR0913  one fact each
        self,
        scaling: Scaling,
        targets: int,
        known: int,
        *,
        kind: Normalisation,
        missing: bool,
        stops_at_length: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(scaling.mean.copy()))
        self.register_buffer("scale", torch.from_numpy(scaling.scale.copy()))
        self.targets = targets
        self.known = known
        self.kind = kind
        self.missing = missing
        self._needs_masks = missing or kind not in _UNSPREAD or not stops_at_length
        self.channels = len(scaling.mean) * (2 if missing else 1)

    def forward(self, sequences: Tensor, lengths: Tensor) -> Normalised:
        """Normalise (batch, time, columns) in the data's units; NaN is a missing value."""
        if torch.compiler.is_exporting() and not self._needs_masks:
            shift, _ = self._row(sequences[..., : self.targets], None, lengths)
            targets = self.relative(sequences[..., : self.targets], shift)
            return Normalised(self._join(targets, sequences), targets, shift, None)
        valid = valid_steps(sequences, lengths)[..., None]  # (batch, time, 1)
        observed = valid & ~sequences.isnan() if self.missing else valid.expand_as(sequences)
        # Replaced before any arithmetic: NaN times zero is NaN.
        values = torch.where(observed, sequences, self.mean)
        seen = observed[..., : self.targets]
        shift, spread = self._row(values[..., : self.targets], seen, lengths)
        # Subtract in the data's units: close numbers cancel exactly, scaled ones do not.
        targets = torch.where(seen, self.relative(values[..., : self.targets], shift), 0.0)
        if spread is not None:
            targets = targets / spread
        inputs = self._join(targets, values)
        if self.missing:
            inputs = torch.cat([inputs, observed.to(values.dtype)], dim=-1)
        return Normalised(inputs, targets, shift, spread)

    def standardise_future(self, future: Tensor) -> Tensor:
        """Standardise (batch, horizon, known); a missing value becomes the mean."""
        mean, scale = self.mean[-self.known :], self.scale[-self.known :]
        if self.missing:
            future = torch.where(future.isnan(), mean, future)
        return (future - mean) / scale

    def relative(self, targets: Tensor, shift: Tensor) -> Tensor:
        """Return (batch, steps, targets) less the row's shift, divided by the scale."""
        relative: Tensor = (targets - shift) / self.scale[: self.targets]
        return relative

    def restore(self, relative: Tensor, shift: Tensor) -> Tensor:
        """Undo ``relative`` for (batch, steps, targets, any)."""
        return relative * self.scale[: self.targets, None] + shift[..., None]

    def _join(self, targets: Tensor, values: Tensor) -> Tensor:
        """Join the normalised targets and the other columns, which are standardised here."""
        mean, scale = self.mean[self.targets :], self.scale[self.targets :]
        return torch.cat([targets, (values[..., self.targets :] - mean) / scale], dim=-1)

    def _row(
        self, values: Tensor, seen: Tensor | None, lengths: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        mean, scale = self.mean[: self.targets], self.scale[: self.targets]
        if self.missing and seen is not None:
            last = last_observed(values, seen, mean)
        else:
            last = gather_steps(values, lengths[:, None] - 1)
        if self.kind in _UNSPREAD or seen is None:
            return last, None
        centre, deviation, observed = _moments(values, seen, last, lengths)
        spread = deviation + _FLAT * centre.abs() + _LEAST * scale
        shift = centre if self.kind == "reversible" else last
        return shift, torch.where(observed, spread / scale, 1.0)


def last_observed(values: Tensor, seen: Tensor, otherwise: Tensor | float) -> Tensor:
    """Return the last observed value of each column, (batch, 1, columns)."""
    ordinal = torch.arange(1, values.shape[1] + 1, device=values.device)[:, None]
    last = torch.where(seen, ordinal, 0).amax(dim=1, keepdim=True)  # (batch, 1, targets)
    found = values.gather(1, (last - 1).clamp(min=0))
    return torch.where(last > 0, found, otherwise)


def _moments(
    values: Tensor, seen: Tensor, last: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, deviation, and whether there was any value, each (batch, 1, targets)."""
    # Relative to the last value, so that a large level loses no digits.  As running sums read at
    # length-1, since padding after a row could change how a plain sum is rounded.
    end = lengths[:, None] - 1
    count = gather_steps(seen.to(values.dtype).cumsum(1), end)
    divisor = count.clamp(min=1.0)
    moved = torch.where(seen, values - last, 0.0)
    mean = gather_steps(moved.cumsum(1), end) / divisor
    centred = torch.where(seen, moved - mean, 0.0)
    variance = gather_steps((centred * centred).cumsum(1), end) / divisor
    return last + mean, variance.sqrt(), count > 0
