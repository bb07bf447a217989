"""From a state to the quantiles of every step at once, and the quantile loss."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_WIDTH = 16  # of each step's own state, to which known covariates are joined


class DirectHead(nn.Module):
    """A linear map to all steps at once; known covariates are joined step by step."""

    def __init__(self, hidden: int, horizon: int, outputs: int, known: int) -> None:
        super().__init__()
        self.shape = (horizon, outputs)
        if known:
            self.steps = nn.Linear(hidden, horizon * _WIDTH)
            self.mix = nn.Linear(_WIDTH + known, 2 * _WIDTH)
            self.out = nn.Linear(2 * _WIDTH, outputs)
        else:
            self.out = nn.Linear(hidden, horizon * outputs)

    def silence(self) -> None:
        """Set the last layer to zero, so that the head returns zeros until it is trained."""
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, state: Tensor, future: Tensor | None) -> Tensor:
        """
        Return (batch, horizon, outputs).

        ``state`` is (batch, hidden); ``future`` is (batch, horizon, known), standardised, and
        None exactly where the head was built without known covariates.
        """
        if future is None:
            flat: Tensor = self.out(state)
            return flat.reshape(-1, *self.shape)
        steps = self.steps(state).reshape(-1, self.shape[0], _WIDTH)
        mixed: Tensor = self.out(functional.relu(self.mix(torch.cat([steps, future], dim=-1))))
        return mixed


class Quantiles(nn.Module):
    """
    Turn the outputs of a head into quantiles that never cross.

    The median is free; each level away from it adds a positive gap.  The gap uses neither exp nor
    log: runtimes compute those differently in full vectors and in remainders, so the last bit of
    an answer would depend on the batch size.  ``stretch`` scales each gap; it is 1 until the
    quantiles are calibrated.
    """

    stretch: Tensor

    def __init__(self, quantiles: Sequence[float], targets: int) -> None:
        super().__init__()
        self.shape = (targets, len(quantiles))
        self.median = min(range(len(quantiles)), key=lambda level: abs(quantiles[level] - 0.5))
        self.register_buffer("stretch", torch.ones(self.shape))

    def forward(self, raw: Tensor) -> Tensor:
        """Return increasing (batch, horizon, targets, quantiles) of (batch, horizon, outputs)."""
        raw = raw.reshape(*raw.shape[:2], *self.shape)
        middle = raw[..., self.median : self.median + 1]
        below = self._gaps(raw, slice(self.median)).flip(-1).cumsum(-1).flip(-1)
        above = self._gaps(raw, slice(self.median + 1, None)).cumsum(-1)
        return torch.cat([middle - below, middle, middle + above], dim=-1)

    def _gaps(self, raw: Tensor, levels: slice) -> Tensor:
        return positive(raw[..., levels]) * self.stretch[:, levels]


def positive(x: Tensor) -> Tensor:
    """Map to (0, inf), increasing and smooth: 1 + x for x >= 0, 1 / (1 - x) below."""
    return functional.relu(x) + 1 / (1 - x.clamp(max=0.0))


def pinball(
    levels: Tensor, predictions: Tensor, actuals: Tensor, weights: Tensor | None = None
) -> Tensor:
    """
    Return the mean quantile loss (Koenker and Bassett, 1978), in the units it is given.

    ``levels`` is (quantiles,), ``predictions`` (batch, horizon, targets, quantiles) and
    ``actuals`` (batch, horizon, targets), where NaN is skipped.  Without any actual it is 0.
    ``weights`` (targets,) multiply each target's losses.
    """
    observed = ~actuals.isnan()
    error = (torch.where(observed, actuals, 0.0)[..., None] - predictions).float()
    losses = torch.maximum(levels * error, (levels - 1) * error)
    if weights is not None:
        losses = losses * weights[:, None]
    kept = torch.where(observed[..., None], losses, 0.0)
    return kept.sum() / (observed.sum() * len(levels)).clamp(min=1)
