"""A hidden Markov model (hmmlearn) of the seasonal differences of a series."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.baselines.forecast import DoesNotApply
from training.baselines.local import Ahead, History, Local

_STATES = (1, 2, 3, 4)
_ITERATIONS = 50
_MEMORY = 500  # steps after which a state is forgotten
_LEAST = 10  # moves to learn from


@dataclass(frozen=True, slots=True)
class _Fitted:
    model: Any  # of hmmlearn
    mean: NDArray[np.float64]  # (targets,)
    scale: NDArray[np.float64]  # (targets,)


class HiddenMarkov(Local):
    """
    Hidden states, each with its own normal distribution of moves, all targets together.

    A move is the difference from one season before, or from one step before where there is no
    season.  The distribution over the states at the origin is carried ahead by the transition
    matrix; a forecast adds the expected moves.  The number of states is chosen by the BIC.
    """

    name = "hidden Markov model"

    def learn(self, history: History) -> _Fitted:
        """Run EM for each number of states."""
        from hmmlearn.hmm import GaussianHMM  # noqa: PLC0415  a second to import

        moves = history.values[self.season :] - history.values[: -self.season]
        if len(moves) < _LEAST:
            raise DoesNotApply("the training part is too short for its season")
        mean, scale = moves.mean(axis=0), moves.std(axis=0)
        scale[scale == 0] = 1.0
        moves = (moves - mean) / scale
        fits = [
            GaussianHMM(count, covariance_type="diag", n_iter=_ITERATIONS, random_state=0).fit(
                moves
            )
            for count in _STATES
            if len(moves) >= _LEAST * count
        ]
        return _Fitted(min(fits, key=lambda each: float(each.bic(moves))), mean, scale)

    def ahead(self, model: _Fitted, history: History) -> Ahead:
        """Find the states at the origin, and carry them ahead."""
        moves = history.values[self.season :] - history.values[: -self.season]
        moves = (moves[-_MEMORY:] - model.mean) / model.scale
        states = model.model.predict_proba(moves)[-1]
        steps = np.concatenate(
            [history.values[-self.season :], np.empty((self.horizon, len(model.mean)))]
        )
        for step in range(self.horizon):
            states = states @ model.model.transmat_
            expected = (states @ model.model.means_) * model.scale + model.mean
            steps[self.season + step] = steps[step] + expected
        return Ahead(steps[self.season :])
