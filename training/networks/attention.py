"""Self-attention: every step looks at every valid step, the last one asks for the answer."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.normalise import gather_steps, valid_steps


class SelfAttention(nn.Module):
    """
    Pre-norm transformer blocks (Xiong et al., ICML 2020) under a readout by attention.

    Positions are counted back from the last valid step, so that a row means the same however
    long its padding is.
    """

    attends = True
    frequencies: Tensor

    def __init__(self, inputs: int, hidden: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, hidden)
        octave = torch.arange(0, hidden, 2) / hidden
        self.register_buffer("frequencies", torch.exp(-math.log(10_000.0) * octave))
        self.blocks = nn.ModuleList(_Block(hidden, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden, bias=False)

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return the pooled state (batch, hidden) of (batch, time, inputs), and the weights.

        The weights (batch, time) sum to one over the valid steps and are 0 on padding.
        """
        valid = valid_steps(inputs, lengths)
        time = inputs.shape[1]
        itself = torch.arange(time, device=inputs.device)
        # A padded step sees itself too: of an empty mask every runtime makes something else.
        visible = valid[:, None, :] | (itself[:, None] == itself[None])[None]
        x = self.embed(inputs) + self._positions(lengths, time)
        for block in self.blocks:
            x = block(x, visible[:, None])
        x = self.norm(x)
        query = self.query(gather_steps(x, lengths[:, None] - 1))  # (batch, 1, hidden)
        scores = (query * self.key(x)).sum(-1) / math.sqrt(x.shape[-1])  # (batch, time)
        weights = torch.where(valid, scores, -torch.inf).softmax(-1)
        return (weights[:, None] @ x).squeeze(1), weights

    def _positions(self, lengths: Tensor, time: int) -> Tensor:
        """Return the sinusoids (batch, time, hidden) of Vaswani et al. (2017)."""
        before_last = lengths[:, None] - 1 - torch.arange(time, device=lengths.device)
        angles = before_last[..., None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
        return waves[..., : self.embed.out_features]  # an odd width drops the last cosine


class _Block(nn.Module):
    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, 3 * hidden)
        self.merge = nn.Linear(hidden, hidden)
        self.feed = nn.Sequential(
            nn.LayerNorm(hidden),
            nn.Linear(hidden, 2 * hidden),
            nn.GELU(),
            nn.Linear(2 * hidden, hidden),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Take (batch, time, hidden), and who sees whom, (batch, 1, time, time)."""
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.project(self.norm(x)).chunk(3, dim=-1)
        )
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=visible)
        x = x + self.dropout(self.merge(found.transpose(1, 2).flatten(2)))
        fed: Tensor = x + self.dropout(self.feed(x))
        return fed
