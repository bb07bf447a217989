"""The part of a recipe that describes the network."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.document import Document

Cell = Literal["gru", "lstm", "rnn"]
Reset = Literal["after", "before"]
Score = Literal["dot", "general", "concat"]
Normalisation = Literal["last", "standard", "reversible", "scaled", "global", "running"]
CAUSAL = ("global", "running")  # normalisations in which no step depends on a later one
MEMORIES = 8  # the default memory is the longest window divided by this
FURTHEST = 400  # memories in the longest row at most: (1 - 1/2)^-800 is finite in float64
Local = Literal["monotonic", "predicted"]  # local-m and local-p of Luong et al. 2015
Positions = Literal["sinusoidal", "learned", "rotary"]
Readout = Literal["all", "window", "last"]


class NetworkRecipe(Document):
    """The network and its size."""

    kind: Literal[Cell, "attention"] = "gru"
    reset: Reset = "after"  # of a GRU: r * (U h) as in torch, or U (r * h)
    score: Score | None = None  # attention over a cell's states
    bidirectional: bool = False  # cells only: each row is read from both ends
    layer_norm: bool = False  # cells only: of the output of each layer
    local: Local | None = None  # attention over a window of the states only
    window: Annotated[int, Field(ge=1)] | None = None  # steps of local attention of either kind
    causal: bool = False  # self-attention: no step sees a later one
    positions: Positions = "sinusoidal"  # self-attention
    readout: Readout = "all"  # self-attention: the steps that the last one attends to
    hidden: Annotated[int, Field(ge=1)] = 32
    layers: Annotated[int, Field(ge=1)] = 2
    heads: Annotated[int, Field(ge=1)] = 4  # attention only
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    normalisation: Literal["auto"] | Normalisation = "auto"  # reversible for many series
    memory: Annotated[int, Field(ge=2)] | None = None  # steps; None: max_length / 8
    stream: bool = False  # require a network that can resume from a state, step by step
    channels: Literal["joint", "independent"] = "joint"  # independent: one row for each target
    segment: Annotated[int, Field(ge=2)] | None = None  # steps joined into one
    # Learnt with the network, or first in closed form: kept as solved, or refined in training.
    linear: Literal["learnt", "solved", "refined"] = "learnt"
    linear_steps: Annotated[int, Field(ge=0)] = 0  # last steps of the linear skip (LSTNet); 0: none

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind == "attention" and self.hidden % self.heads:
            raise ValueError("hidden must be a multiple of heads")
        if self.kind != "gru" and self.reset != "after":
            raise ValueError("only a gru has a reset gate")
        if self.kind == "attention" and self.score is not None:
            raise ValueError("score is for attention over the states of gru, lstm or rnn")
        if self.linear != "learnt" and not self.linear_steps:
            raise ValueError(f"linear = {self.linear} needs linear_steps, the steps it maps")
        if self.kind == "attention" and (self.bidirectional or self.layer_norm):
            raise ValueError(
                "bidirectional and layer_norm are for gru, lstm and rnn; attention has both"
            )
        return self

    @model_validator(mode="after")
    def _check_stream(self) -> Self:
        if self.memory is not None and self.chosen != "running":
            raise ValueError("memory is for normalisation running")
        if self.stream and (obstacles := self._obstacles()):
            raise ValueError(f"stream: the network cannot read on from a state, for {obstacles}")
        return self

    @property
    def chosen(self) -> Literal["auto"] | Normalisation:
        """The normalisation that is given or follows from ``stream``; else "auto"."""
        return "running" if self.stream and self.normalisation == "auto" else self.normalisation

    def remembered(self, longest: int) -> int:
        """Return how many steps running statistics remember, of rows of ``longest`` at most."""
        return self.memory or max(2, longest // MEMORIES)

    def _obstacles(self) -> str:
        """Return why the network cannot stream; empty if it can."""
        of_all = {
            f'normalisation = "{self.chosen}" changes every step read before: '
            f"take {' or '.join(CAUSAL)}": self.chosen not in CAUSAL,
            "attention keeps all steps: take causal = true, a window of at least 2, "
            'positions = "rotary" and readout = "last"': self.kind == "attention"
            and not self._keeps_a_window(),
            "score asks all states read before": self.score is not None,
            "bidirectional reads from the end": self.bidirectional,
            "segment cuts steps from the end": self.segment is not None,
            "linear_steps maps the last steps themselves": self.linear_steps > 0,
        }
        return "; ".join(text for text, applies in of_all.items() if applies)

    def _keeps_a_window(self) -> bool:
        sees_few = self.causal and (self.window or 1) > 1
        return sees_few and self.positions == "rotary" and self.readout == "last"

    @model_validator(mode="after")
    def _check_attention(self) -> Self:
        if self.kind != "attention":
            self._check_states_attention()
        elif self.local is not None:
            raise ValueError("local is for gru, lstm or rnn; window alone makes attention local")
        elif self.positions == "rotary" and self.hidden // self.heads % 2:
            raise ValueError("rotary positions need an even number of hidden units a head")
        elif self.readout == "window" and self.window is None:
            raise ValueError("a readout of the window needs a window")
        return self

    def _check_states_attention(self) -> None:
        if self.causal or self.positions != "sinusoidal" or self.readout != "all":
            raise ValueError("causal, positions and readout are for kind attention")
        if self.local is not None and self.score is None:
            raise ValueError("local attention over the states needs a score")
        if (self.local is None) != (self.window is None):
            raise ValueError("local and window come together")
