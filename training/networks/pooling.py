"""Attention over the states of a recurrent network, with the last valid state as the query."""

import torch
from torch import Tensor, nn

from training.architecture import Local, Score
from training.networks.normalise import gather_steps, valid_steps
from training.networks.window import exist, lay_back, window_steps, within

_TINY = 1e-30  # what keeps a logarithm finite


class AttentionPool(nn.Module):
    """
    Attention (Luong et al. 2015, arXiv:1508.04025) with the last state as the query.

    The score of a state h with the last one q is q . h ("dot"), q . W h ("general", that of
    multiplicative attention), or v . tanh(W [q; h]) ("concat", additive attention, Bahdanau et
    al. 2015, arXiv:1409.0473).  The answer is tanh(C [context; q]).

    Global attention is over all valid states.  Local attention gathers only those of a window:
    "monotonic" (local-m) the last ``window``, "predicted" (local-p) those at most ``window`` from
    a centre that is predicted from q.
    """

    def __init__(
        self, score: Score, hidden: int, local: Local | None = None, window: int = 0
    ) -> None:
        super().__init__()
        self.score = score
        self.local = local
        self.window = window
        if score == "general":
            self.key = nn.Linear(hidden, hidden, bias=False)
        if score == "concat":
            self.from_query = nn.Linear(hidden, hidden)
            self.from_state = nn.Linear(hidden, hidden, bias=False)
            self.value = nn.Linear(hidden, 1, bias=False)
        self.merge = nn.Linear(2 * hidden, hidden)
        if local == "predicted":
            self.centre = nn.Linear(hidden, hidden, bias=False)
            self.centre_value = nn.Linear(hidden, 1, bias=False)

    def forward(self, states: Tensor, last: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return the merged state (batch, hidden) and the weights (batch, time).

        ``states`` is (batch, time, hidden), finite also beyond ``lengths``; ``last`` (batch,
        hidden).  The weights sum to one over the valid steps and are 0 on padding.
        """
        if self.local is None:
            valid = valid_steps(states, lengths)
            weights = torch.where(valid, self._scores(states, last), -torch.inf).softmax(-1)
            return self._merge(weights, states, last), weights
        time = states.shape[1]
        if self.local == "monotonic":
            first, count = lengths - self.window, self.window
        else:
            centre = self.predict(last, lengths)
            first, count = centre.floor().long() - self.window, 2 * self.window + 2
        steps = window_steps(first, count)
        near, seen = gather_steps(states, within(steps, time)), exist(steps, lengths)
        scores = self._scores(near, last)  # (batch, count)
        if self.local == "predicted":
            scores, seen = self._around(centre, scores, steps, seen)
        weights = torch.where(seen, scores, -torch.inf).softmax(-1)
        return self._merge(weights, near, last), lay_back(weights, first, time)

    def predict(self, last: Tensor, lengths: Tensor) -> Tensor:
        """Return the centre length * sigmoid(v . tanh(W q)), (batch,), of ``last``."""
        share: Tensor = torch.sigmoid(self.centre_value(torch.tanh(self.centre(last))))
        return lengths * share.squeeze(-1)

    def _around(
        self, centre: Tensor, scores: Tensor, steps: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """
        Add the logarithm of exp(-d^2 / (2 (window / 2)^2)), d from the centre.

        Beyond the edge of the window the weight fades out over one step instead of jumping:
        otherwise a change in the last bit of the centre could move an answer visibly.
        """
        distance = (steps - centre[:, None]).abs()
        fade = (self.window + 1 - distance).clamp(max=1)
        bell = -2 * (distance / self.window) ** 2
        return scores + bell + fade.clamp(min=_TINY).log(), seen & (fade > 0)

    def _merge(self, weights: Tensor, states: Tensor, last: Tensor) -> Tensor:
        context = (weights[:, None] @ states).squeeze(1)
        return torch.tanh(self.merge(torch.cat([context, last], dim=-1)))

    def _scores(self, states: Tensor, last: Tensor) -> Tensor:
        if self.score == "concat":
            mixed = torch.tanh(self.from_query(last)[:, None] + self.from_state(states))
            scores: Tensor = self.value(mixed).squeeze(-1)
            return scores
        keys = self.key(states) if self.score == "general" else states
        return (keys @ last[..., None]).squeeze(-1)
