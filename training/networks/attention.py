"""Self-attention over all steps or those of a window, read out at the last valid step."""

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from training.architecture import Positions, Readout
from training.networks.cached_attention import CachedAttention
from training.networks.masked_attention import FullAttention, LocalAttention
from training.networks.normalise import gather_steps, valid_steps
from training.networks.positions import LearnedPositions, Rotary, Sinusoids, rotate
from training.networks.window import exist, lay_back, window_steps, within

Attention = FullAttention | LocalAttention
Turns = tuple[Tensor, Tensor]  # cosines and sines, (time, heads or 1, width / 2)


class SelfAttention(nn.Module):
    """
    Pre-norm transformer blocks (Xiong et al., ICML 2020) under a readout by attention.

    Each step attends to all valid steps; ``causal``, to none later than itself; with a
    ``window``, only to steps nearer than that.  Positions are counted back from the last valid
    step, or are distances (rotary), so padding does not change what a row means.  In the readout
    the last valid step attends to all valid steps or to the last ``window``; in the second case
    the answer is a function of the last (layers + 1) * (window - 1) + 1 steps.  The readout
    "last" takes the state of the last valid step, of layers * (window - 1) + 1 steps, as it is.

    A network that is causal and rotary, with a window and the readout "last", can ``resume``:
    each layer caches the keys and values of its last ``window`` - 1 steps.  Keys are cached
    before the rotation and turned by their place in the cache, so no angle grows with time.
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
        """What a stream keeps, name -> shape without the batch; empty if it cannot stream."""
        window = self.window or 1
        if self.attends or not self.causal or self.rotary is None or window == 1:
            return {}
        ring = len(self.blocks), window - 1, self.embed.out_features
        return {"keys": ring, "values": ring, "kept": (1,)}

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """
        Return the pooled state (batch, hidden) of (batch, time, inputs), and the weights.

        The weights (batch, time) are the readout's: they sum to one over the valid steps and are
        0 on padding; None for the readout "last".
        """
        states = self.states(inputs, lengths)
        if not self.attends:
            return gather_steps(states, lengths[:, None] - 1).squeeze(1), None
        return self._read_out(states, lengths)

    def resume(
        self, inputs: Tensor, lengths: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """
        Read (batch, time, inputs) after the steps whose ``state`` is given.

        Returns the state of the last valid step, (batch, hidden), and the next ``state``, of the
        names and shapes in ``state_shapes``; zeros are the state before the first step.  Raises
        ValueError for a network that cannot stream.
        """
        if self.rotary is None or self.window is None:
            raise ValueError("This network reads whole rows only.")
        time = inputs.shape[1]
        cache = CachedAttention(lengths, time, self.window, state["kept"])
        # Expanded to all heads: runtimes broadcast a single head slowly.
        heads = cast("_Block", self.blocks[0]).heads
        cosines, sines = (
            each[:, None].expand(-1, heads, -1) for each in self.rotary(cache.before + time)
        )
        x: Tensor = self.embed(inputs)
        rings = []
        for block, *ring in zip(
            self.blocks, state["keys"].unbind(1), state["values"].unbind(1), strict=True
        ):
            x, keys, values = cast("_Block", block).resume(x, cache, (cosines, sines), *ring)
            rings.append((keys, values))
        last: Tensor = self.norm(gather_steps(x, lengths[:, None] - 1).squeeze(1))
        keys, values = (torch.stack(each, dim=1) for each in zip(*rings, strict=True))
        return last, {"keys": keys, "values": values, "kept": cache.kept}

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
        attention = self._attention(lengths, time)
        for block in self.blocks:
            x = block(x, attention, turns)
        normed: Tensor = self.norm(x)
        return normed

    def _attention(self, lengths: Tensor, time: int) -> Attention:
        if self.window is None:
            return FullAttention(lengths, time, causal=self.causal)
        return LocalAttention(lengths, time, self.window, causal=self.causal)

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

    def forward(self, x: Tensor, attention: Attention, turns: Turns | None) -> Tensor:
        """Return (batch, time, hidden) of the same; ``turns`` are the rotations, if any."""
        queries, keys, values = (self._split(part) for part in self._project(x))
        if turns is not None:
            queries, keys = (rotate(each, turns) for each in (queries, keys))
        return self._merge(x, attention.attend(queries, keys, values))

    def resume(
        self, x: Tensor, cache: CachedAttention, turns: Turns, *ring: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As ``forward`` behind cached keys and values, the ``ring``; return the next ring, too."""
        queries, *news = self._project(x)
        keys, values = (torch.cat(pair, dim=1) for pair in zip(ring, news, strict=True))
        cosines, sines = turns
        own = cosines[cache.before :], sines[cache.before :]
        turned = rotate(self._split(keys), turns)
        found = cache.attend(rotate(self._split(queries), own), turned, self._split(values))
        return self._merge(x, found), cache.keep(keys), cache.keep(values)

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
