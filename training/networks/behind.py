"""What a step sees behind itself, steps of earlier calls included: it knows no network."""

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK = 16  # steps that ask together; a single step costs as much as these


class Behind:
    """
    Each step looks at itself and the ``window`` - 1 steps before it, kept ones among them.

    What is kept of earlier calls, (batch, window - 1, columns), stands before the steps of this
    one, the last of it next to them; ``kept`` (batch, 1) says how many of it there are.  Steps
    ask in blocks, each of the steps it reaches, so that the cost is that of time * (window + a
    block).
    """

    def __init__(self, lengths: Tensor, time: int, window: int, kept: Tensor) -> None:
        self.lengths = lengths
        self.time = time
        self.before = window - 1
        self.blocks = (time + _BLOCK - 1) // _BLOCK
        device = lengths.device
        one = torch.arange(_BLOCK, device=device)[:, None]
        other = torch.arange(_BLOCK + self.before, device=device)
        behind = one + self.before - other  # (block, reach)
        starts = torch.arange(self.blocks, device=device) * _BLOCK
        steps = starts[:, None] + other - self.before  # (blocks, reach)
        valid = (steps >= -kept[..., None]) & (steps < lengths[:, None, None])
        visible = ((behind >= 0) & (behind < window)) & valid[:, :, None]
        # A padded step sees itself too: of an empty mask every runtime makes something else.
        self.visible = (visible | (behind == 0)).flatten(0, 1)[:, None]
        # Where what is reached, and what is kept, lies among all rows of all sequences.
        total = self.before + time
        rows = torch.arange(lengths.shape[0], device=device) * total
        reached = (steps + self.before).clamp(max=total - 1)
        self.reached = (rows[:, None, None] + reached).flatten()
        self.last = ((rows + lengths)[:, None] + torch.arange(self.before, device=device)).flatten()
        self.kept = (kept + lengths[:, None]).clamp(max=self.before)  # after this call

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """
        Return what is found, (batch, time, heads, width) as the queries are.

        Keys and values are (batch, window - 1 + time, heads, width).
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
        """Return the last (batch, window - 1, columns) of all steps up to each row's length."""
        return _rows(joined, self.last).reshape(-1, self.before, joined.shape[2])


def _rows(sequences: Tensor, rows: Tensor) -> Tensor:
    """Return (rows, ...) of (batch, time, ...): a copy of each where it lies."""
    return sequences.flatten(0, 1).index_select(0, rows)
