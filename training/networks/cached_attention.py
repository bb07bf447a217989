"""Causal local attention over steps of earlier calls too, whose keys and values were kept."""

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK = 16  # queries computed together; a single step costs as much as a block


class CachedAttention:
    """
    Each step sees itself and the ``window`` - 1 steps before it, those of earlier calls included.

    The cache of keys, like that of values, is (batch, window - 1, columns) and stands before the
    steps of this call; ``kept`` (batch, 1) counts the steps in it, which are its last ones.
    Queries attend in blocks, each to the steps it reaches: the cost is time * (window + block).
    """

    def __init__(self, lengths: Tensor, time: int, window: int, kept: Tensor) -> None:
        self.lengths = lengths
        self.time = time
        self.before = window - 1
        self.blocks = (time + _BLOCK - 1) // _BLOCK
        device = lengths.device
        query = torch.arange(_BLOCK, device=device)[:, None]
        key = torch.arange(_BLOCK + self.before, device=device)
        behind = query + self.before - key  # (block, reach): how much earlier the key is
        starts = torch.arange(self.blocks, device=device) * _BLOCK
        steps = starts[:, None] + key - self.before  # (blocks, reach)
        valid = (steps >= -kept[..., None]) & (steps < lengths[:, None, None])
        visible = ((behind >= 0) & (behind < window)) & valid[:, :, None]
        # A padded step sees itself too: runtimes differ in what they make of an empty mask.
        self.visible = (visible | (behind == 0)).flatten(0, 1)[:, None]
        # Rows of (batch * (window - 1 + time), ...): those each block reaches, those to keep.
        total = self.before + time
        rows = torch.arange(lengths.shape[0], device=device) * total
        reached = (steps + self.before).clamp(max=total - 1)
        self.reached = (rows[:, None, None] + reached).flatten()
        self.last = ((rows + lengths)[:, None] + torch.arange(self.before, device=device)).flatten()
        self.kept = (kept + lengths[:, None]).clamp(max=self.before)  # after this call

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """
        Return softmax(Q K' / sqrt(width)) V, (batch, time, heads, width) as the queries are.

        Keys and values are (batch, window - 1 + time, heads, width), the cache first.
        """
        heads, width = queries.shape[2:]
        missing = self.blocks * _BLOCK - self.time
        q = functional.pad(queries, (0, 0, 0, 0, 0, missing)).reshape(-1, _BLOCK, heads, width)
        k, v = (
            _rows(each, self.reached).reshape(-1, _BLOCK + self.before, heads, width)
            for each in (keys, values)
        )
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.visible)
        joined = found.transpose(1, 2).reshape(-1, self.blocks * _BLOCK, heads, width)
        return joined[:, : self.time]

    def keep(self, joined: Tensor) -> Tensor:
        """Return the next cache, (batch, window - 1, columns), of the cache and the new steps."""
        return _rows(joined, self.last).reshape(-1, self.before, joined.shape[2])


def _rows(sequences: Tensor, rows: Tensor) -> Tensor:
    """Return a copy of some rows, counted through the batch, of (batch, time, ...)."""
    return sequences.flatten(0, 1).index_select(0, rows)
