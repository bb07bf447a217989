"""LSTM, GRU and RNN encoders: from a row to the state after its last valid step."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.architecture import Cell, Reset
from training.networks import native
from training.networks.pooling import AttentionPool
from training.networks.stack import Reading, Stack
from training.networks.truncation import read_truncated


class Recurrent(nn.Module):
    """
    A stack of one kind of cell, exported as native nodes with ``sequence_lens``.

    In torch, padding is skipped by reading the state at length-1; in the exported file the nodes
    stop at each row's length themselves, so that a padded row equals the row alone bit for bit.
    A bidirectional stack returns a linear map of both directions' last states, (batch, hidden).

    In training only: ``truncate`` bounds the steps that a gradient goes back, and ``keep_energy``
    makes each pass keep, for ``take_energy``, what the recipe's ``state_decay`` penalises.
    """

    def __init__(  # noqa: PLR0913, PLR0917  a size each
        self,
        kind: Cell,
        inputs: int,
        hidden: int,
        layers: int,
        dropout: float,
        reset: Reset = "after",
        *,
        pool: AttentionPool | None = None,
        bidirectional: bool = False,
        layer_norm: bool = False,
        truncate: int | None = None,
        keep_energy: bool = False,
    ) -> None:
        super().__init__()
        self.stack = Stack(
            kind,
            reset,
            inputs,
            hidden,
            layers,
            dropout,
            norm=layer_norm,
            bidirectional=bidirectional,
        )
        self.merge: nn.Module = (
            nn.Linear(self.stack.width, hidden) if bidirectional else nn.Identity()
        )
        self.dropout = nn.Dropout(dropout)
        self.pool = pool
        self.truncate = truncate
        self.keep_energy = keep_energy
        self._energy: Tensor | None = None

    @property
    def attends(self) -> bool:
        """Whether the answer comes with attention weights."""
        return self.pool is not None

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """
        Return the state (batch, hidden) after the last valid step of (batch, time, inputs).

        With a pool, of that state merged with what it attends to, and the weights (batch, time).
        """
        if torch.compiler.is_exporting():
            reading = native.read(self.stack, inputs, lengths)
        else:
            reading = self._read(inputs, lengths)
            self._energy = reading.energy
        last = self.merge(reading.last)
        if self.pool is None:
            return self.dropout(last), None
        state, weights = self.pool(self.merge(reading.states), last, lengths)
        return self.dropout(state), weights

    @property
    def exact(self) -> bool:
        """Whether the native nodes answer a row alike, bit for bit, alone and in any batch."""
        return self.pool is None

    @property
    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """
        The state of a stream: name -> shape without the batch.

        Empty where the answer needs the whole row: with both directions, or with attention.
        """
        if self.pool is not None or self.stack.width != self.stack.hidden:
            return {}
        shape = len(self.stack.layers), self.stack.hidden
        return {"h": shape, "c": shape} if self.stack.kind == "lstm" else {"h": shape}

    def resume(
        self, inputs: Tensor, lengths: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """
        Return the output (batch, hidden) after more steps of each row, and the next state.

        ``state`` is that after the steps before, each (batch, layers, hidden); zeros: none.
        """
        starts = list(
            zip(*(state[name].transpose(0, 1) for name in self.state_shapes), strict=True)
        )
        if torch.compiler.is_exporting():
            reading = native.read(self.stack, inputs, lengths, starts)
        else:
            reading = self.stack(inputs, lengths, starts, ends=True)
        ends = zip(*reading.ends, strict=True)
        carried = {
            name: torch.stack(layers, dim=1)
            for name, layers in zip(self.state_shapes, ends, strict=True)
        }
        return self.dropout(reading.last), carried

    def take_energy(self) -> Tensor | None:
        """
        Return, once, the mean square of the last pass's memory (c of an LSTM, else h).

        The mean is over all layers, units and valid steps (the last ``truncate`` of them); None
        if ``keep_energy`` is not set.
        """
        energy, self._energy = self._energy, None
        return energy

    def _read(self, inputs: Tensor, lengths: Tensor) -> Reading:
        energy = self.keep_energy and self.training
        if self.truncate is not None and self.training:
            return read_truncated(self.stack, inputs, lengths, self.truncate, energy=energy)
        reading: Reading = self.stack(inputs, lengths, energy=energy)
        return reading
