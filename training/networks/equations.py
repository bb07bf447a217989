"""
The equations of the recurrent cells, written out: what torch and ONNX Runtime must agree with.

One layer, one sequence (time, inputs), zeros as the first state, double precision.  The weights
lie as in torch: W (gates * hidden, inputs), U (gates * hidden, hidden), and a bias for each, the
gates i, f, c', o (LSTM) and r, z, n (GRU) one below the other.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.architecture import Reset

Float = NDArray[np.float64]


class Weights(NamedTuple):
    """Of one layer."""

    w: Float
    u: Float
    wb: Float
    ub: Float


def lstm(sequence: Float, weights: Weights) -> Float:
    """
    Return the states h (time, hidden) of an LSTM (Gers et al. 2000, without peepholes).

    i, f, o = sigmoid(W x + U h), c' = tanh(W x + U h), c = f * c + i * c', h = o * tanh(c).
    """
    hidden = weights.u.shape[1]
    h, c, states = np.zeros(hidden), np.zeros(hidden), []
    for x in sequence:
        i, f, new, o = np.split(weights.w @ x + weights.wb + weights.u @ h + weights.ub, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(new)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def gru(sequence: Float, weights: Weights, reset: Reset = "after") -> Float:
    """
    Return the states h (time, hidden) of a GRU.

    r, z = sigmoid(W x + U h), h = (1 - z) * n + z * h, and the candidate n is
    tanh(W x + r * (U h + b)) with the reset gate after the product (cuDNN, torch), or
    tanh(W x + U (r * h) + b) with it before (Cho et al. 2014, arXiv:1406.1078).

    Where z and 1 - z are exchanged it is the same family: negate W, U and the biases of z.
    """
    hidden = weights.u.shape[1]
    (wr, wz, wn), (ur, uz, un) = np.split(weights.w, 3), np.split(weights.u, 3)
    (br, bz, bn), (cr, cz, cn) = np.split(weights.wb, 3), np.split(weights.ub, 3)
    h, states = np.zeros(hidden), []
    for x in sequence:
        r = sigmoid(wr @ x + br + ur @ h + cr)
        z = sigmoid(wz @ x + bz + uz @ h + cz)
        from_state = r * (un @ h + cn) if reset == "after" else un @ (r * h) + cn
        h = (1 - z) * np.tanh(wn @ x + bn + from_state) + z * h
        states.append(h)
    return np.array(states)


def rnn(sequence: Float, weights: Weights) -> Float:
    """Return the states h = tanh(W x + U h) (time, hidden) of a plain RNN (Elman 1990)."""
    h, states = np.zeros(weights.u.shape[1]), []
    for x in sequence:
        h = np.tanh(weights.w @ x + weights.wb + weights.u @ h + weights.ub)
        states.append(h)
    return np.array(states)


def layer_norm(states: Float, gain: Float, bias: Float) -> Float:
    """Return states (time, hidden), each with mean 0 and deviation 1 over its units, g x + b."""
    centred = states - states.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    normed: Float = gain * centred / spread + bias
    return normed


def bidirectional(
    forwards: Callable[[Float], Float], backwards: Callable[[Float], Float], sequence: Float
) -> tuple[Float, Float]:
    """
    Return both states of each step side by side, (time, 2 hidden), and those of both ends.

    The second cell reads from the last step to the first (Schuster and Paliwal 1997); its end is
    the first step.
    """
    one, other = forwards(sequence), backwards(sequence[::-1])
    return np.concatenate([one, other[::-1]], -1), np.concatenate([one[-1], other[-1]])


def attend(states: Float, score: Callable[[Float, Float], float]) -> tuple[Float, Float]:
    """
    Return the context (hidden,) and the weights (time,) of global attention (Luong et al. 2015).

    The last state asks: a_t = exp(score(q, h_t)) / sum exp(score(q, h_s)), context = sum a_t h_t.
    """
    scores = np.array([score(states[-1], state) for state in states])
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    return weights @ states, weights


def sigmoid(x: Float) -> Float:
    """Return 1 / (1 + exp(-x))."""
    return 0.5 * (1 + np.tanh(0.5 * x))


CELLS: dict[tuple[str, str], Callable[[Float, Weights], Float]] = {
    ("lstm", "after"): lstm,
    ("gru", "after"): gru,
    ("gru", "before"): lambda sequence, weights: gru(sequence, weights, "before"),
    ("rnn", "after"): rnn,
}
