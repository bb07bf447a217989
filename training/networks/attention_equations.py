"""
The equations of attention, written out: what torch and ONNX Runtime must agree with.

One sequence (time, columns), no padding, no blocks, double precision.  The weights of
self-attention are named as those of the network, and lie as in torch: (outputs, inputs).
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from training.architecture import NetworkRecipe

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
Weights = Mapping[str, Float]


def self_attention(sequence: Float, weights: Weights, recipe: NetworkRecipe) -> tuple[Float, Float]:
    """Return the answer (hidden,) of self-attention to (time, inputs), and its weights (time,)."""
    states = self_attention_states(sequence, weights, recipe)
    time, hidden = states.shape
    query = states[-1] @ weights["query.weight"].T + weights["query.bias"]
    keys = states @ weights["key.weight"].T
    if recipe.positions == "rotary":
        query, keys = turn(query, np.array(time - 1)), turn(keys, np.arange(time))
    asked = time if recipe.readout == "all" else min(time, recipe.window or time)
    shares = np.zeros(time)
    shares[time - asked :] = softmax(keys[time - asked :] @ query / math.sqrt(hidden))
    return shares @ states, shares


def self_attention_states(sequence: Float, weights: Weights, recipe: NetworkRecipe) -> Float:
    """Return the states (time, hidden) of pre-norm blocks (Xiong et al. 2020)."""
    time = len(sequence)
    x = sequence @ weights["embed.weight"].T + weights["embed.bias"]
    back = time - 1 - np.arange(time)
    if recipe.positions == "sinusoidal":
        x = x + sinusoids(back, recipe.hidden)
    elif recipe.positions == "learned":
        x = x + weights["positions.table"][back]
    seen = visible(time, causal=recipe.causal, window=recipe.window)
    for number in range(recipe.layers):
        x = _block(x, _part(weights, f"blocks.{number}."), recipe, seen)
    return layer_norm(x, weights["norm.weight"], weights["norm.bias"])


def _block(x: Float, weights: Weights, recipe: NetworkRecipe, seen: Mask) -> Float:
    normed = layer_norm(x, weights["norm.weight"], weights["norm.bias"])
    projected = normed @ weights["project.weight"].T + weights["project.bias"]
    queries, keys, values = np.split(projected, 3, axis=-1)
    rotary = recipe.positions == "rotary"
    found = multi_head(queries, keys, values, recipe.heads, seen, rotary=rotary)
    x = x + found @ weights["merge.weight"].T + weights["merge.bias"]
    fed = layer_norm(x, weights["feed.0.weight"], weights["feed.0.bias"])
    fed = gelu(fed @ weights["feed.1.weight"].T + weights["feed.1.bias"])
    return x + fed @ weights["feed.3.weight"].T + weights["feed.3.bias"]


def multi_head(  # noqa: PLR0913  Q, K, V and what is done with them
    queries: Float, keys: Float, values: Float, heads: int, seen: Mask, *, rotary: bool = False
) -> Float:
    """
    Return softmax(Q K' / sqrt(width)) V of each head, side by side (Vaswani et al. 2017).

    All three are (time, heads * width); ``seen`` (time, time) says who looks at whom.
    """
    steps = np.arange(len(queries))
    found = []
    for q, k, v in zip(
        *(np.split(each, heads, 1) for each in (queries, keys, values)), strict=True
    ):
        turned = (turn(q, steps), turn(k, steps)) if rotary else (q, k)
        scores = turned[0] @ turned[1].T / math.sqrt(q.shape[1])
        found.append(softmax(np.where(seen, scores, -np.inf)) @ v)
    return np.concatenate(found, axis=1)


def visible(time: int, *, causal: bool = False, window: int | None = None) -> Mask:
    """Return (time, time): whether step t sees s, |t - s| < window, and not s > t if causal."""
    behind = np.arange(time)[:, None] - np.arange(time)
    seen: Mask = np.abs(behind) < (window or time)
    return seen & (behind >= 0) if causal else seen


def sinusoids(back: NDArray[np.int64], hidden: int) -> Float:
    """Return sines, then cosines, of ``back`` * 10000^(-2 j / hidden), (time, hidden)."""
    angles = back[:, None] * 10_000.0 ** (-np.arange(0, hidden, 2) / hidden)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :hidden]


def turn(x: Float, steps: NDArray[np.int64]) -> Float:
    """
    Return (..., width) turned by the step (Su et al. 2021, arXiv:2104.09864).

    Columns j and j + width / 2 are a complex number, times exp(i step 10000^(-2 j / width)).
    """
    half = x.shape[-1] // 2
    frequencies = 10_000.0 ** (-np.arange(half) / half)
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * steps[..., None] * frequencies)
    return np.concatenate([turned.real, turned.imag], axis=-1)


def local_monotonic(
    states: Float, score: Callable[[Float, Float], float], window: int
) -> tuple[Float, Float]:
    """Return context and weights of local-m (Luong et al. 2015): the last ``window`` states."""
    steps = np.arange(len(states))
    return _weighted(states, score, np.where(steps >= len(states) - window, 1.0, 0.0))


def local_predicted(
    states: Float, score: Callable[[Float, Float], float], window: int, centre: float
) -> tuple[Float, Float]:
    """
    Return context and weights of local-p (Luong et al. 2015), around a predicted ``centre``.

    The factor is exp(-d^2 / (2 (window / 2)^2)) at distance d, in the window; beyond its edge it
    fades to zero over one step.  The weights are made to sum to one.
    """
    distance = np.abs(np.arange(len(states)) - centre)
    fade = np.clip(window + 1 - distance, 0, 1)
    return _weighted(states, score, fade * np.exp(-(distance**2) / (2 * (window / 2) ** 2)))


def _weighted(
    states: Float, score: Callable[[Float, Float], float], factors: Float
) -> tuple[Float, Float]:
    scores = np.array([score(states[-1], state) for state in states])
    weights = np.exp(scores - scores[factors > 0].max()) * factors
    weights /= weights.sum()
    return weights @ states, weights


def softmax(scores: Float) -> Float:
    """Return exp(scores) over its sum along the last axis."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    shares: Float = powers / powers.sum(-1, keepdims=True)
    return shares


def layer_norm(x: Float, weight: Float, bias: Float) -> Float:
    """Return (x - mean) / sqrt(variance + 1e-5) * weight + bias of the last axis."""
    variance = x.var(-1, keepdims=True)
    normed: Float = (x - x.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-5)
    return normed * weight + bias


def gelu(x: Float) -> Float:
    """Return x times the normal distribution function at x (Hendrycks and Gimpel 2016)."""
    share: Float = 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))
    return x * share


def _part(weights: Weights, prefix: str) -> Weights:
    names = (name for name in weights if name.startswith(prefix))
    return {name.removeprefix(prefix): weights[name] for name in names}
