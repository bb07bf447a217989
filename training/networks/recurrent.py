"""LSTM, GRU and RNN: read a row and keep the state at its end; no head."""

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
    A stack of one cell that is exported as native nodes with ``sequence_lens``.

    Trained, padding is passed over by reading the state at length-1; exported, the nodes stop
    at each row's length themselves, so that a padded row equals the row alone bit for bit.  A
    bidirectional stack answers with a linear map of both ends, (batch, hidden) as any other.

    In training alone, ``truncate`` bounds the steps a gradient goes back, and with
    ``keep_energy`` each pass leaves for ``take_energy`` what the recipe's ``state_decay`` charges.
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

        With a pool it has attended to all valid states, with the weights (batch, time).
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
        """Whether its native nodes answer a row alone and in a batch alike, bit for bit."""
        return self.pool is None

    @property
    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """
        What a stream carries from step to step, name -> shape without the batch.

        Nothing where the answer needs the whole row: of both directions, or of attention.
        """
        if self.pool is not None or self.stack.width != self.stack.hidden:
            return {}
        shape = len(self.stack.layers), self.stack.hidden
        return {"h": shape, "c": shape} if self.stack.kind == "lstm" else {"h": shape}

    def resume(
        self, inputs: Tensor, lengths: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """
        Return the state to answer from, (batch, hidden), and what the next step starts from.

        ``state`` is what the steps before have left, each (batch, layers, hidden).
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
        Return what the last pass has left: the mean square of what the cells remember.

        Of all layers, units and valid steps (the last ``truncate`` of them); None where nothing
        was to be kept.
        """
        energy, self._energy = self._energy, None
        return energy

    def _read(self, inputs: Tensor, lengths: Tensor) -> Reading:
        energy = self.keep_energy and self.training
        if self.truncate is not None and self.training:
            return read_truncated(self.stack, inputs, lengths, self.truncate, energy=energy)
        reading: Reading = self.stack(inputs, lengths, energy=energy)
        return reading
