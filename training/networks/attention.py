"""Self-attention: every step looks at the steps it may see, the last one asks for the answer."""

import math

import torch
from torch import Tensor, nn

from training.architecture import Positions, Readout
from training.networks.normalise import gather_steps, valid_steps
from training.networks.positions import LearnedPositions, Rotary, Sinusoids, rotate
from training.networks.sight import Everywhere, Nearby
from training.networks.window import exist, lay_back, window_steps, within

Turns = tuple[Tensor, Tensor]


class SelfAttention(nn.Module):
    """
    Pre-norm transformer blocks (Xiong et al., ICML 2020) under a readout by attention.

    A step sees every valid one, or, ``causal``, none that is later, and with a ``window`` only
    those nearer than that.  Positions are counted back from the last valid step, or are distances
    (rotary), so that a row means the same however long its padding is.  The readout asks all
    valid steps or the last ``window``; then the answer is a function of the last
    (layers + 1) * (window - 1) + 1 steps.
    """

    attends = True

    def __init__(  # noqa: PLR0913  a size or a choice each
        self,
        inputs: int,
        hidden: int,
        layers: int,
        heads: int,
        dropout: float,
        *,
        causal: bool = False,
        window: int | None = None,
        positions: Positions = "sinusoidal",
        readout: Readout = "all",
        longest: int = 1,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.window = window
        self.asked = window if readout == "window" else None
        self.embed = nn.Linear(inputs, hidden)
        self.blocks = nn.ModuleList(_Block(hidden, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.positions: nn.Module | None = None
        if positions == "sinusoidal":
            self.positions = Sinusoids(hidden)
        elif positions == "learned":
            self.positions = LearnedPositions(longest, hidden)
        rotary = positions == "rotary"
        self.rotary = Rotary(hidden // heads) if rotary else None
        self.rotary_readout = Rotary(hidden) if rotary else None

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return the pooled state (batch, hidden) of (batch, time, inputs), and the weights.

        The weights (batch, time) sum to one over the valid steps and are 0 on padding.
        """
        return self._read_out(self.states(inputs, lengths), lengths)

    def states(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return the states (batch, time, hidden) of (batch, time, inputs) after all blocks."""
        time = inputs.shape[1]
        x: Tensor = self.embed(inputs)
        if self.positions is not None:
            x = x + self.positions(lengths, time)
        turns = self.rotary(time) if self.rotary is not None else None
        sight = self._sight(lengths, time)
        for block in self.blocks:
            x = block(x, sight, turns)
        normed: Tensor = self.norm(x)
        return normed

    def _sight(self, lengths: Tensor, time: int) -> Everywhere | Nearby:
        if self.window is None:
            return Everywhere(lengths, time, causal=self.causal)
        return Nearby(lengths, time, self.window, causal=self.causal)

    def _read_out(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        time = x.shape[1]
        query = self.query(gather_steps(x, lengths[:, None] - 1))  # (batch, 1, hidden)
        keys = self.key(x)
        if self.rotary_readout is not None:
            cosines, sines = turns = self.rotary_readout(time)
            query = rotate(query, (cosines[lengths - 1][:, None], sines[lengths - 1][:, None]))
            keys = rotate(keys, turns)
        valid = valid_steps(x, lengths)
        if self.asked is not None:
            first = lengths - self.asked
            steps = window_steps(first, self.asked)
            valid = exist(steps, lengths)
            x, keys = (gather_steps(each, within(steps, time)) for each in (x, keys))
        scores = (query * keys).sum(-1) / math.sqrt(x.shape[-1])  # (batch, time or window)
        weights = torch.where(valid, scores, -torch.inf).softmax(-1)
        pooled = (weights[:, None] @ x).squeeze(1)
        return pooled, weights if self.asked is None else lay_back(weights, first, time)


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

    def forward(self, x: Tensor, sight: Everywhere | Nearby, turns: Turns | None) -> Tensor:
        """Take (batch, time, hidden), who sees whom, and how far each step is turned."""
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1))  # (batch, time, heads, width)
            for part in self.project(self.norm(x)).chunk(3, dim=-1)
        )
        if turns is not None:
            cosines, sines = (each[:, None] for each in turns)
            queries, keys = (rotate(each, (cosines, sines)) for each in (queries, keys))
        x = x + self.dropout(self.merge(sight.attend(queries, keys, values).flatten(2)))
        fed: Tensor = x + self.dropout(self.feed(x))
        return fed
