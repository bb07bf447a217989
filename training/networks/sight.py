"""Which steps a step looks at, and what it sees there: every step, or those of a window near it."""

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK = 64  # steps whose windows are computed together


class Everywhere:
    """Each step looks at every valid one; causal, at none that is later.  Cost: time squared."""

    def __init__(self, lengths: Tensor, time: int, *, causal: bool) -> None:
        steps = torch.arange(time, device=lengths.device)
        ahead = steps[None] - steps[:, None]  # of who looks at whom, (time, time)
        visible = (steps < lengths[:, None])[:, None]
        if causal:
            visible = visible & (ahead <= 0)
        # A padded step sees itself too: of an empty mask every runtime makes something else.
        self.visible = (visible | (ahead == 0))[:, None]  # (batch, 1, time, time)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return what is found, (batch, time, heads, width) as all three are."""
        q, k, v = (each.transpose(1, 2) for each in (queries, keys, values))
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.visible)
        return found.transpose(1, 2)


class Nearby:
    """
    Each step looks at the valid ones nearer than ``window``; causal, at none that is later.

    A step is 0 from itself: causal, it sees the last ``window`` steps, else 2 window - 1.  The
    time is cut into blocks, each of which looks at itself and the blocks that its windows reach,
    so that the cost is that of time * (window + a block).
    """

    def __init__(self, lengths: Tensor, time: int, window: int, *, causal: bool) -> None:
        self.time = time
        self.size = min(window, _BLOCK)
        self.blocks = (time + self.size - 1) // self.size
        self.before = -(-(window - 1) // self.size)  # blocks
        self.after = 0 if causal else self.before
        one = torch.arange(self.size, device=lengths.device)[:, None]
        other = torch.arange(
            -self.before * self.size, (1 + self.after) * self.size, device=lengths.device
        )
        behind = one - other  # (size, reach)
        near = (behind < window) & (behind >= 0 if causal else behind > -window)
        starts = torch.arange(self.blocks, device=lengths.device) * self.size
        steps = starts[:, None] + other  # (blocks, reach)
        valid = (steps >= 0) & (steps < lengths[:, None, None])
        visible = (near & valid[:, :, None]) | (behind == 0)  # as above, itself
        self.visible = visible.flatten(0, 1)[:, None]  # (batch * blocks, 1, size, reach)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return what is found, (batch, time, heads, width) as all three are."""
        heads, width = queries.shape[2:]
        q = self._cut(queries, 0, 0)
        k, v = (self._cut(each, self.before, self.after) for each in (keys, values))
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.visible)
        joined = found.transpose(1, 2).reshape(len(queries), -1, heads, width)
        return joined[:, : self.time]

    def _cut(self, x: Tensor, before: int, after: int) -> Tensor:
        """Return (batch * blocks, heads, (before + 1 + after) * size, width): blocks and others."""
        heads, width = x.shape[2:]
        missing = self.blocks * self.size - self.time
        padding = (0, 0, before * self.size, missing + after * self.size)
        padded = functional.pad(x.flatten(2), padding)
        total = before + self.blocks + after
        cut = padded.reshape(len(x), total, self.size, heads * width)
        near = [cut[:, shift : shift + self.blocks] for shift in range(before + 1 + after)]
        joined = torch.cat(near, dim=2).flatten(0, 1)
        return joined.reshape(len(joined), -1, heads, width).transpose(1, 2)
