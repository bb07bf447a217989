"""Attention under a mask: each step sees every valid step, or those of a window around it."""

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK = 64  # steps, at most, whose windows are computed together


class FullAttention:
    """Each step sees every valid step; causal, none later than itself.  Cost: time squared."""

    def __init__(self, lengths: Tensor, time: int, *, causal: bool) -> None:
        steps = torch.arange(time, device=lengths.device)
        ahead = steps[None] - steps[:, None]  # (query, key): how much later the key is
        visible = (steps < lengths[:, None])[:, None]
        if causal:
            visible = visible & (ahead <= 0)
        # A padded step sees itself too: runtimes differ in what they make of an empty mask.
        self.visible = (visible | (ahead == 0))[:, None]  # (batch, 1, time, time)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return softmax(Q K' / sqrt(width)) V; all four are (batch, time, heads, width)."""
        q, k, v = (each.transpose(1, 2) for each in (queries, keys, values))
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.visible)
        return found.transpose(1, 2)


class LocalAttention:
    """
    Step t sees the valid steps s with |t - s| < ``window``; causal, none with s > t.

    That is the last ``window`` steps if causal, else 2 window - 1.  The time axis is cut into
    blocks, and each block attends to itself and to the blocks its windows reach: the cost is
    time * (window + block).
    """

    def __init__(self, lengths: Tensor, time: int, window: int, *, causal: bool) -> None:
        self.time = time
        self.size = min(window, _BLOCK)
        self.blocks = (time + self.size - 1) // self.size
        self.before = -(-(window - 1) // self.size)  # blocks
        self.after = 0 if causal else self.before
        query = torch.arange(self.size, device=lengths.device)[:, None]
        key = torch.arange(
            -self.before * self.size, (1 + self.after) * self.size, device=lengths.device
        )
        behind = query - key  # (size, reach): how much earlier the key is
        near = (behind < window) & (behind >= 0 if causal else behind > -window)
        starts = torch.arange(self.blocks, device=lengths.device) * self.size
        steps = starts[:, None] + key  # (blocks, reach)
        valid = (steps >= 0) & (steps < lengths[:, None, None])
        visible = (near & valid[:, :, None]) | (behind == 0)  # itself, as in FullAttention
        self.visible = visible.flatten(0, 1)[:, None]  # (batch * blocks, 1, size, reach)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return softmax(Q K' / sqrt(width)) V; all four are (batch, time, heads, width)."""
        heads, width = queries.shape[2:]
        q = self._cut(queries, 0, 0)
        k, v = (self._cut(each, self.before, self.after) for each in (keys, values))
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.visible)
        # len() would fix the number of rows, and the exporter begin again another way.
        rows = queries.shape[0]
        joined = found.transpose(1, 2).reshape(rows, self.blocks * self.size, heads, width)
        return joined[:, : self.time]

    def _cut(self, x: Tensor, before: int, after: int) -> Tensor:
        """Return each block with its neighbours, (batch * blocks, heads, reach, width)."""
        heads, width = x.shape[2:]
        missing = self.blocks * self.size - self.time
        padding = (0, 0, before * self.size, missing + after * self.size)
        padded = functional.pad(x.flatten(2), padding)
        total = before + self.blocks + after
        cut = padded.reshape(x.shape[0], total, self.size, heads * width)
        near = [cut[:, shift : shift + self.blocks] for shift in range(before + 1 + after)]
        joined = torch.cat(near, dim=2).flatten(0, 1)
        return joined.reshape(*joined.shape[:2], heads, width).transpose(1, 2)
