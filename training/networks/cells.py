"""The recurrent cells torch does not have, with the parameters of those that it has."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from training.recipe import Cell, Reset


class ResetBeforeGRU(nn.GRU):
    """
    A GRU whose reset gate acts before the product: U (r * h), where torch has r * (U h).

    This is the cell of Cho et al. 2014 (arXiv:1406.1078); torch's is that of cuDNN.  The weights
    are laid out as those of nn.GRU; of the candidate only the sum of its two biases counts.
    Batch first, one direction, no initial state.
    """

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """Return the states (batch, time, hidden) of the last layer."""
        sequence = inputs.transpose(0, 1)  # (time, batch, inputs)
        for layer in range(self.num_layers):
            if layer and self.dropout:
                sequence = nn.functional.dropout(sequence, self.dropout, self.training)
            sequence = self._layer(layer, sequence)
        return sequence.transpose(0, 1), None

    def _layer(self, layer: int, sequence: Tensor) -> Tensor:
        w, u, wb, ub = (
            getattr(self, f"{name}_l{layer}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        size = self.hidden_size
        inputs = linear(sequence, w, wb + ub)  # r, z and n of all steps in one product
        gates, candidates = inputs[..., : 2 * size].unbind(0), inputs[..., 2 * size :].unbind(0)
        u_gates, u_candidate = u[: 2 * size].t(), u[2 * size :].t()
        state = sequence.new_zeros(sequence.shape[1], size)
        states = []
        for gate, candidate in zip(gates, candidates, strict=True):
            r, z = torch.sigmoid(torch.addmm(gate, state, u_gates)).chunk(2, 1)
            new = torch.tanh(torch.addmm(candidate, r * state, u_candidate))
            state = torch.lerp(new, state, z)  # (1 - z) * new + z * state
            states.append(state)
        return torch.stack(states)


def stack(  # noqa: PLR0913, PLR0917  a size each
    kind: Cell, reset: Reset, inputs: int, hidden: int, layers: int, dropout: float
) -> nn.LSTM | nn.GRU | nn.RNN:
    """Return layers of one cell, batch first; ``reset`` is the GRU's."""
    between = dropout if layers > 1 else 0.0  # torch warns of a dropout that never acts
    cell: type[nn.LSTM | nn.GRU | nn.RNN] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind]
    if kind == "gru" and reset == "before":
        cell = ResetBeforeGRU
    return cell(inputs, hidden, layers, batch_first=True, dropout=between)
