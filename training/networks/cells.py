"""Recurrent cells, one layer and one direction each, and states that torch's do not return."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from training.architecture import Cell, Reset
from training.networks.normalise import gather_steps

State = tuple[Tensor, ...]  # (h,), or (h, c) of an LSTM, each (batch, hidden)


class Steps(NamedTuple):
    """The result of reading a sequence."""

    states: Tensor  # (batch, time, hidden): h after each step
    memory: Tensor  # likewise: c of an LSTM if ``memory`` was asked for, else h
    end: State  # after each row's last valid step if ``end`` was asked for, else empty


class ResetBeforeGRU(nn.GRU):
    """
    A GRU whose reset gate acts before the product: U (r * h), where torch has r * (U h).

    This is the cell of Cho et al. 2014 (arXiv:1406.1078); torch's is that of cuDNN.  The weights
    are laid out as in nn.GRU; the candidate's two biases are added.  Batch first, one layer, one
    direction.
    """

    def forward(  # type: ignore[override]
        self, inputs: Tensor, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the states (batch, time, hidden), and the last of them (1, batch, hidden)."""
        w, u, wb, ub = parameters(self)
        size = self.hidden_size
        # r, z and n of all steps in one product.
        products = linear(inputs.transpose(0, 1), w, wb + ub)
        gates, candidates = products[..., : 2 * size].unbind(0), products[..., 2 * size :].unbind(0)
        u_gates, u_candidate = u[: 2 * size].t(), u[2 * size :].t()
        state = inputs.new_zeros(len(inputs), size) if start is None else start[0]
        states = []
        for gate, candidate in zip(gates, candidates, strict=True):
            r, z = torch.sigmoid(torch.addmm(gate, state, u_gates)).chunk(2, 1)
            new = torch.tanh(torch.addmm(candidate, r * state, u_candidate))
            # (1 - z) * new + z * state; the state stays as exact as it is under mixed precision.
            state = torch.lerp(new.to(state.dtype), state, z.to(state.dtype))
            states.append(state)
        return torch.stack(states, dim=1), state[None]


def cell(kind: Cell, reset: Reset, inputs: int, hidden: int) -> nn.LSTM | nn.GRU | nn.RNN:
    """Return one layer of one cell, batch first; ``reset`` is the GRU's."""
    kinds: dict[Cell, type[nn.LSTM | nn.GRU | nn.RNN]]
    kinds = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
    chosen = ResetBeforeGRU if kind == "gru" and reset == "before" else kinds[kind]
    return chosen(inputs, hidden, batch_first=True)


def parameters(cell: nn.Module) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return W (gates * hidden, inputs), U (gates * hidden, hidden) and the bias of each."""
    w, u, wb, ub = (
        getattr(cell, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return w, u, wb, ub


def run(  # noqa: PLR0913  three to read, two to ask
    cell: nn.LSTM | nn.GRU | nn.RNN,
    inputs: Tensor,
    lengths: Tensor,
    start: State | None,
    *,
    memory: bool = False,
    end: bool = False,
) -> Steps:
    """
    Read (batch, time, inputs) from the state ``start``, or from zeros.

    ``memory`` asks for c after each step of an LSTM, ``end`` for the state after the last valid
    step; a row of length 0 ends in zeros.
    """
    if isinstance(cell, nn.LSTM):
        if memory:
            return _unrolled(cell, inputs, lengths, start)
        if end:
            return _packed(cell, inputs, lengths, start)
        states, _ = cell(inputs, None if start is None else (start[0][None], start[1][None]))
        return Steps(states, states, ())
    states, _ = cell(inputs, None if start is None else start[0][None])
    return Steps(states, states, (_at_end(states, lengths),) if end else ())


def _unrolled(cell: nn.LSTM, inputs: Tensor, lengths: Tensor, start: State | None) -> Steps:
    """Compute an LSTM step by step, since torch returns c of the last step only."""
    w, u, wb, ub = parameters(cell)
    products = linear(inputs.transpose(0, 1), w, wb + ub)
    h, c = start or [inputs.new_zeros(len(inputs), cell.hidden_size)] * 2
    states, memory = [], []
    for product in products.unbind(0):
        i, f, new, o = torch.addmm(product, h, u.t()).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(new)
        h = torch.sigmoid(o) * torch.tanh(c)
        states.append(h)
        memory.append(c)
    every_h, every_c = torch.stack(states, dim=1), torch.stack(memory, dim=1)
    return Steps(every_h, every_c, (_at_end(every_h, lengths), _at_end(every_c, lengths)))


def _packed(cell: nn.LSTM, inputs: Tensor, lengths: Tensor, start: State | None) -> Steps:
    """Run an LSTM on packed rows, so that c is that of each row's last valid step."""
    packed = pack_padded_sequence(
        inputs, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
    )
    found, (h, c) = cell(packed, None if start is None else (start[0][None], start[1][None]))
    states, _ = pad_packed_sequence(found, batch_first=True, total_length=inputs.shape[1])
    some = lengths[:, None] > 0
    return Steps(states, states, (torch.where(some, h[0], 0.0), torch.where(some, c[0], 0.0)))


def _at_end(steps: Tensor, lengths: Tensor) -> Tensor:
    last = gather_steps(steps, (lengths[:, None] - 1).clamp(min=0)).squeeze(1)
    return torch.where(lengths[:, None] > 0, last, 0.0)
