"""Stacked layers of one kind of cell, in one direction or both; no pooling, no ONNX."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from training.architecture import Cell, Reset
from training.networks.cells import State, cell, run
from training.networks.normalise import gather_steps, valid_steps


class Reading(NamedTuple):
    """The result of reading rows with a stack."""

    states: Tensor  # (batch, time, width) of the last layer; arbitrary beyond a row's length
    last: Tensor  # (batch, width): each direction after the last step it reads
    ends: list[State]  # of each layer, if asked for: what a further reading may start from
    energy: Tensor | None  # if asked for: mean square of the cells' memory over valid steps


class Direction(nn.Module):
    """A cell that reads each row forwards or backwards, and its layer norm."""

    def __init__(  # noqa: PLR0913  a size each
        self, kind: Cell, reset: Reset, inputs: int, hidden: int, *, norm: bool, backwards: bool
    ) -> None:
        super().__init__()
        self.cell = cell(kind, reset, inputs, hidden)
        self.norm: nn.Module = nn.LayerNorm(hidden) if norm else nn.Identity()
        self.backwards = backwards


class Stack(nn.Module):
    """
    Layers of one cell, dropout between them.

    With ``norm`` the output of each layer is normalised over its units (Ba et al. 2016,
    arXiv:1607.06450, who also normalise inside the gates, which no native node can do); the state
    that a cell passes to its own next step is not.  ``bidirectional`` layers also read each row
    from its last valid step to its first, and join both outputs, each with a norm of its own.
    """

    def __init__(  # noqa: PLR0913, PLR0917  a size each
        self,
        kind: Cell,
        reset: Reset,
        inputs: int,
        hidden: int,
        layers: int,
        dropout: float,
        *,
        norm: bool = False,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.reset = reset
        self.hidden = hidden
        self.width = hidden * (2 if bidirectional else 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                Direction(kind, reset, size, hidden, norm=norm, backwards=backwards)
                for backwards in ((False, True) if bidirectional else (False,))
            )
            for size in [inputs] + [self.width] * (layers - 1)
        )
        self.between = nn.Dropout(dropout)

    def by_layer(self) -> Iterator[list[Direction]]:
        """Yield the directions of each layer from the inputs up, forwards first."""
        for layer in self.layers:
            yield list(cast("Iterable[Direction]", layer))

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor,
        starts: Sequence[State] | None = None,
        *,
        energy: bool = False,
        ends: bool = False,
    ) -> Reading:
        """
        Read (batch, time, inputs) up to ``lengths``, from zeros or the ``ends`` of a reading.

        A row of length 0 ends in zeros.
        """
        states, last = inputs, inputs[:, 0]
        carried: list[State] = []
        squares: list[Tensor] = []
        valid = valid_steps(inputs, lengths)
        for number, layer in enumerate(self.by_layer()):
            states = self.between(states) if number else states
            given, final = [], []
            for direction in layer:
                steps = run(
                    direction.cell,
                    reverse(states, lengths) if direction.backwards else states,
                    lengths,
                    starts[number] if starts else None,
                    memory=energy,
                    end=ends,
                )
                if energy:
                    squares.append(_mean_square(steps.memory, valid))
                if ends:
                    carried.append(steps.end)
                out = direction.norm(steps.states)
                final.append(gather_steps(out, (lengths[:, None] - 1).clamp(min=0)).squeeze(1))
                given.append(reverse(out, lengths) if direction.backwards else out)
            states = torch.cat(given, -1) if len(given) > 1 else given[0]
            last = torch.cat(final, -1)
        return Reading(states, last, carried, torch.stack(squares).mean() if squares else None)


def reverse(rows: Tensor, lengths: Tensor) -> Tensor:
    """Reverse the valid steps of each row of (batch, time, columns); padding stays in place."""
    steps = torch.arange(rows.shape[1], device=rows.device)
    turned = lengths[:, None] - 1 - steps
    return gather_steps(rows, torch.where(turned >= 0, turned, steps))


def _mean_square(memory: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of memory**2 (batch, time, hidden) over the valid steps (batch, time)."""
    exact = memory.to(torch.promote_types(memory.dtype, torch.float32))
    squares = torch.where(valid[..., None], exact.square(), 0.0)
    return squares.sum() / (valid.sum() * memory.shape[-1])
