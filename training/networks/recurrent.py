"""LSTM, GRU and RNN: read a row from left to right and keep the last valid state; no head."""

from typing import Any

import torch
from torch import Tensor, nn

from training.networks.cells import stack
from training.networks.normalise import gather_steps
from training.networks.pooling import AttentionPool
from training.recipe import Cell, Reset, Score

# Where each ONNX gate lies among torch's: iofc from ifgo, zrh from rzn.
_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
# ONNX Runtime adds up the rows of its RNN node in another order when they are many, which no
# batch may show.  So an RNN goes out as a GRU whose gates are what their biases are: z = 0 keeps
# nothing of the last state beside the candidate, r = 1 resets nothing.
_OPEN_GATES = {
    "activations": ["HardSigmoid", "Tanh"],
    "activation_alpha": [1.0],
    "activation_beta": [0.0],
}
_Z, _R = 0.0, 1.0


class Recurrent(nn.Module):
    """
    A stack of one cell that is exported as native nodes with ``sequence_lens``.

    Trained, padding is passed over by reading the state at length-1; exported, the nodes stop
    at each row's length themselves, so that a padded row equals the row alone bit for bit.
    """

    def __init__(  # noqa: PLR0913, PLR0917  a size each
        self,
        kind: Cell,
        inputs: int,
        hidden: int,
        layers: int,
        dropout: float,
        reset: Reset = "after",
        score: Score | None = None,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.reset = reset
        self.rnn = stack(kind, reset, inputs, hidden, layers, dropout)
        self.dropout = nn.Dropout(dropout)
        self.pool = None if score is None else AttentionPool(score, hidden)

    @property
    def attends(self) -> bool:
        """Whether the answer comes with attention weights."""
        return self.pool is not None

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """
        Return the state (batch, hidden) after the last valid step of (batch, time, inputs).

        With a score it has attended to all valid states, with the weights (batch, time).
        """
        if torch.compiler.is_exporting():
            states, last = self._native(inputs, lengths)
        else:
            states, _ = self.rnn(inputs)  # (batch, time, hidden)
            last = gather_steps(states, lengths[:, None] - 1).squeeze(1)
        if self.pool is None:
            return self.dropout(last), None
        state, weights = self.pool(states, last, lengths)
        return self.dropout(state), weights

    def _native(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states (batch, time, hidden), 0 beyond a length, and the last of each row."""
        steps = lengths.to(torch.int32)
        sequence = inputs.transpose(0, 1)  # (time, batch, inputs): the only layout on CPU
        last = sequence
        for layer in range(self.rnn.num_layers):
            sequence, last = self._node(layer, sequence, steps)
        return sequence.transpose(0, 1), last

    def _node(self, layer: int, sequence: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        time, batch, _ = sequence.shape
        hidden = self.rnn.hidden_size
        attributes: dict[str, Any] = {"hidden_size": hidden}
        shapes: list[list[int]] = [[time, 1, batch, hidden], [1, batch, hidden]]
        if self.kind == "lstm":
            shapes.append([1, batch, hidden])
        else:
            attributes["linear_before_reset"] = int(self.reset == "after")
        if self.kind == "rnn":
            attributes |= _OPEN_GATES
        outputs = torch.onnx.ops.symbolic_multi_out(
            "LSTM" if self.kind == "lstm" else "GRU",
            (sequence, *self._weights(layer), steps),
            attributes,
            dtypes=[sequence.dtype] * len(shapes),
            shapes=shapes,
        )
        return outputs[0].squeeze(1), outputs[1].squeeze(0)

    def _weights(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return W, R and B of ONNX, each with a leading axis for the one direction."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        w, r, wb, rb = (getattr(self.rnn, f"{name}_l{layer}") for name in names)
        if self.kind == "rnn":
            w, r, rb = (torch.cat([torch.zeros_like(each)] * 2 + [each]) for each in (w, r, rb))
            wb = torch.cat([torch.full_like(wb, _Z), torch.full_like(wb, _R), wb])
        else:
            w, r, wb, rb = map(self._reorder, (w, r, wb, rb))
        return w[None], r[None], torch.cat([wb, rb])[None]

    def _reorder(self, weights: Tensor) -> Tensor:
        order = _GATES[self.kind]
        size = len(weights) // len(order)
        # Slices, for the exporter folds what has one output; chunk has several.
        return torch.cat([weights[gate * size : (gate + 1) * size] for gate in order])
