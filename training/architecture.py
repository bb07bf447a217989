"""The part of a recipe that says what the network is; it knows no data and no loop."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Cell = Literal["gru", "lstm", "rnn"]
Reset = Literal["after", "before"]
Score = Literal["dot", "general", "concat"]
Normalisation = Literal["last", "standard", "reversible", "scaled", "global", "running"]
CAUSAL = ("global", "running")  # normalisations in which no step depends on a later one
MEMORIES = 8  # that the longest window holds, where a recipe does not say how long one is
FURTHEST = 400  # memories that a row may be long: (1 - 1/2)^-800 is still a number in float64
Local = Literal["monotonic", "predicted"]  # local-m and local-p of Luong et al. 2015
Positions = Literal["sinusoidal", "learned", "rotary"]
Readout = Literal["all", "window", "last"]


class NetworkRecipe(BaseModel):
    """The network and its size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal[Cell, "attention"] = "gru"
    reset: Reset = "after"  # of a GRU: r * (U h) as in torch, or U (r * h)
    score: Score | None = None  # attention over a cell's states
    bidirectional: bool = False  # cells only: each row is read from both ends
    layer_norm: bool = False  # cells only: of what each layer gives out
    local: Local | None = None  # of that attention: only a window of the states
    window: Annotated[int, Field(ge=1)] | None = None  # steps of local attention of either kind
    causal: bool = False  # self-attention: no step sees a later one
    positions: Positions = "sinusoidal"  # self-attention
    readout: Readout = "all"  # self-attention: whom the last step asks for the answer
    hidden: Annotated[int, Field(ge=1)] = 32
    layers: Annotated[int, Field(ge=1)] = 2
    heads: Annotated[int, Field(ge=1)] = 4  # attention only
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    normalisation: Literal["auto"] | Normalisation = "auto"  # reversible for many series
    memory: Annotated[int, Field(ge=2)] | None = None  # steps; None: max_length / 8
    stream: bool = False  # demand a network that reads on from its state, a step at a time
    channels: Literal["joint", "independent"] = "joint"  # independent: one row for each target
    segment: Annotated[int, Field(ge=2)] | None = None  # steps read as one
    # Learnt with the network, or first in closed form: kept as solved, or refined in training.
    linear: Literal["learnt", "solved", "refined"] = "learnt"
    linear_steps: Annotated[int, Field(ge=0)] = 0  # last steps of the linear skip (LSTNet); 0: none

    @model_validator(mode="after")
    def _divisible(self) -> Self:
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
    def _streams(self) -> Self:
        if self.memory is not None and self.chosen != "running":
            raise ValueError("memory is for normalisation running")
        if self.stream and (obstacles := self._obstacles()):
            raise ValueError(f"stream: the network cannot read on from a state, for {obstacles}")
        return self

    @property
    def chosen(self) -> Literal["auto"] | Normalisation:
        """The normalisation that is given, or follows from the network; else auto."""
        return "running" if self.stream and self.normalisation == "auto" else self.normalisation

    def remembered(self, longest: int) -> int:
        """Return how many steps running statistics remember, of rows of ``longest`` at most."""
        return self.memory or max(2, longest // MEMORIES)

    def _obstacles(self) -> str:
        """Name what must see a whole row again at every step."""
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
    def _attentive(self) -> Self:
        if self.kind != "attention":
            self._over_states()
        elif self.local is not None:
            raise ValueError("local is for gru, lstm or rnn; window alone makes attention local")
        elif self.positions == "rotary" and self.hidden // self.heads % 2:
            raise ValueError("rotary positions need an even number of hidden units a head")
        elif self.readout == "window" and self.window is None:
            raise ValueError("a readout of the window needs a window")
        return self

    def _over_states(self) -> None:
        if self.causal or self.positions != "sinusoidal" or self.readout != "all":
            raise ValueError("causal, positions and readout are for kind attention")
        if self.local is not None and self.score is None:
            raise ValueError("local attention over the states needs a score")
        if (self.local is None) != (self.window is None):
            raise ValueError("local and window come together")
