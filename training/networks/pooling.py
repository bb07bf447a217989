"""Attention over the states of a recurrent network: the last one asks, all valid ones answer."""

import torch
from torch import Tensor, nn

from training.networks.normalise import valid_steps
from training.recipe import Score


class AttentionPool(nn.Module):
    """
    Global attention (Luong et al. 2015, arXiv:1508.04025) with the last state as the query.

    The score of a state h with the last one q is q . h ("dot"), q . W h ("general", that of
    multiplicative attention), or v . tanh(W [q; h]) ("concat", additive attention, Bahdanau et
    al. 2015, arXiv:1409.0473).  The answer is tanh(C [context; q]).
    """

    def __init__(self, score: Score, hidden: int) -> None:
        super().__init__()
        self.score = score
        if score == "general":
            self.key = nn.Linear(hidden, hidden, bias=False)
        if score == "concat":
            self.from_query = nn.Linear(hidden, hidden)
            self.from_state = nn.Linear(hidden, hidden, bias=False)
            self.value = nn.Linear(hidden, 1, bias=False)
        self.merge = nn.Linear(2 * hidden, hidden)

    def forward(self, states: Tensor, last: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return the merged state (batch, hidden) and the weights (batch, time).

        ``states`` is (batch, time, hidden), finite also beyond ``lengths``; ``last`` (batch,
        hidden).  The weights sum to one over the valid steps and are 0 on padding.
        """
        valid = valid_steps(states, lengths)
        weights = torch.where(valid, self._scores(states, last), -torch.inf).softmax(-1)
        context = (weights[:, None] @ states).squeeze(1)
        return torch.tanh(self.merge(torch.cat([context, last], dim=-1))), weights

    def _scores(self, states: Tensor, last: Tensor) -> Tensor:
        if self.score == "concat":
            mixed = torch.tanh(self.from_query(last)[:, None] + self.from_state(states))
            scores: Tensor = self.value(mixed).squeeze(-1)
            return scores
        keys = self.key(states) if self.score == "general" else states
        return (keys @ last[..., None]).squeeze(-1)
