"""Gradient clipping: every rule acts on the gradients of all parameters together, in place."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from training.recipe import FitRecipe


def clip(parameters: Iterable[nn.Parameter], recipe: FitRecipe) -> None:
    """Apply the rules that the recipe asks for: by value, scaled, then by norm."""
    given = [each for each in parameters if each.grad is not None]
    if recipe.clip_value is not None:
        clip_grad_value_(given, recipe.clip_value)
    if recipe.clip_scaled is not None:
        clip_scaled(given, recipe.clip_scaled)
    if recipe.clip_norm is not None:
        clip_grad_norm_(given, recipe.clip_norm)


def clip_scaled(parameters: Iterable[nn.Parameter], bound: float) -> None:
    """
    Set g' = clip(g, -c, c) / max |clip(g, -c, c)|, where c is ``bound`` and g all gradients.

    The largest absolute gradient is then 1; gradients that are all 0 stay 0.
    """
    gradients: list[Tensor] = [each.grad for each in parameters if each.grad is not None]
    if not gradients:
        return
    for gradient in gradients:
        gradient.clamp_(-bound, bound)
    largest = torch.stack([gradient.abs().max() for gradient in gradients]).max()
    unit = torch.where(largest > 0, largest, torch.ones_like(largest))
    for gradient in gradients:
        gradient.div_(unit)
