"""Self-attention: every step looks at the steps it may see, the last one asks for the answer."""

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from training.architecture import Positions, Readout
from training.networks.behind import Behind
from training.networks.normalise import gather_steps, valid_steps
from training.networks.positions import LearnedPositions, Rotary, Sinusoids, rotate
from training.networks.sight import Everywhere, Nearby
from training.networks.window import exist, lay_back, window_steps, within

Turns = tuple[Tensor, Tensor]  # cosines and sines, (time, heads or 1, width / 2)


class SelfAttention(nn.Module):
    """
    Pre-norm transformer blocks (Xiong et al., ICML 2020) under a readout by attention.

    A step sees every valid one, or, ``causal``, none that is later, and with a ``window`` only
    those nearer than that.  Positions are counted back from the last valid step, or are distances
    (rotary), so that a row means the same however long its padding is.  The readout asks all
    valid steps or the last ``window``; then the answer is a function of the last
    (layers + 1) * (window - 1) + 1 steps.  Where the readout is "last", nobody is asked: the
    answer is the state of the last step, of layers * (window - 1) + 1 steps.

    Causal and rotary, with a window and that readout, it can ``resume``: each layer keeps the
    keys, not yet turned, and values of its last ``window`` - 1 steps, and turns them by where
    they stand from there on, so that no angle grows with time.
    """

    exact = False

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
        self.attends = readout != "last"
        self.asked = window if readout == "window" else None
        self.embed = nn.Linear(inputs, hidden)
        self.blocks = nn.ModuleList(_Block(hidden, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        if self.attends:
            self.query = nn.Linear(hidden, hidden)
            self.key = nn.Linear(hidden, hidden, bias=False)
        self.positions: nn.Module | None = None
        if positions == "sinusoidal":
            self.positions = Sinusoids(hidden)
        elif positions == "learned":
            self.positions = LearnedPositions(longest, hidden)
        rotary = positions == "rotary"
        self.rotary = Rotary(hidden // heads) if rotary else None
        self.rotary_readout = Rotary(hidden) if rotary and self.attends else None

    @property
    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """What a stream carries: name -> shape without the batch; nothing where it cannot."""
        window = self.window or 1
        if self.attends or not self.causal or self.rotary is None or window == 1:
            return {}
        ring = len(self.blocks), window - 1, self.embed.out_features
        return {"keys": ring, "values": ring, "kept": (1,)}

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """
        Return the pooled state (batch, hidden) of (batch, time, inputs), and the weights.

        The weights (batch, time) sum to one over the valid steps and are 0 on padding; None
        without a readout that asks.
        """
        states = self.states(inputs, lengths)
        if not self.attends:
            return gather_steps(states, lengths[:, None] - 1).squeeze(1), None
        return self._read_out(states, lengths)

    def resume(
        self, inputs: Tensor, lengths: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the state to answer from, (batch, hidden), and what the next step starts from."""
        if self.rotary is None or self.window is None:
            raise ValueError("This network answers whole rows alone.")
        time = inputs.shape[1]
        behind = Behind(lengths, time, self.window, state["kept"])
        # As wide as all heads: runtimes are slow where few columns meet many.
        heads = cast("_Block", self.blocks[0]).heads
        cosines, sines = (
            each[:, None].expand(-1, heads, -1) for each in self.rotary(behind.before + time)
        )
        x: Tensor = self.embed(inputs)
        rings = []
        for block, *ring in zip(
            self.blocks, state["keys"].unbind(1), state["values"].unbind(1), strict=True
        ):
            x, keys, values = cast("_Block", block).resume(x, behind, (cosines, sines), *ring)
            rings.append((keys, values))
        last: Tensor = self.norm(gather_steps(x, lengths[:, None] - 1).squeeze(1))
        keys, values = (torch.stack(each, dim=1) for each in zip(*rings, strict=True))
        return last, {"keys": keys, "values": values, "kept": behind.kept}

    def states(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return the states (batch, time, hidden) of (batch, time, inputs) after all blocks."""
        time = inputs.shape[1]
        x: Tensor = self.embed(inputs)
        if self.positions is not None:
            x = x + self.positions(lengths, time)
        turns = None
        if self.rotary is not None:
            cosines, sines = self.rotary(time)
            turns = cosines[:, None], sines[:, None]
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
        queries, keys, values = (self._split(part) for part in self._project(x))
        if turns is not None:
            queries, keys = (rotate(each, turns) for each in (queries, keys))
        return self._merge(x, sight.attend(queries, keys, values))

    def resume(
        self, x: Tensor, behind: Behind, turns: Turns, *ring: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Do so behind a ring of keys and values (batch, before, hidden); return the next ring."""
        queries, *news = self._project(x)
        keys, values = (torch.cat(pair, dim=1) for pair in zip(ring, news, strict=True))
        cosines, sines = turns
        own = cosines[behind.before :], sines[behind.before :]
        turned = rotate(self._split(keys), turns)
        found = behind.attend(rotate(self._split(queries), own), turned, self._split(values))
        return self._merge(x, found), behind.keep(keys), behind.keep(values)

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values, (batch, time, hidden) each."""
        parts: tuple[Tensor, ...] = self.project(self.norm(x)).chunk(3, dim=-1)
        return parts

    def _split(self, part: Tensor) -> Tensor:
        """Return (batch, time, heads, width) of (batch, time, hidden)."""
        return part.reshape(*part.shape[:2], self.heads, part.shape[2] // self.heads)

    def _merge(self, x: Tensor, found: Tensor) -> Tensor:
        x = x + self.dropout(self.merge(found.flatten(2)))
        fed: Tensor = x + self.dropout(self.feed(x))
        return fed
