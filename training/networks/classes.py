"""The head of a classifier: from a state to the probabilities of classes."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ClassHead(nn.Module):
    """
    A linear map to one logit per class, and the softmax of the logits over a temperature.

    The temperature is 1 until ``calibrate`` sets it (Guo et al. 2017, arXiv:1706.04599): one
    number for all classes, which changes the confidence and never the order of the classes.
    The softmax runs over the classes only, so a row does not depend on its batch.
    """

    temperature: Tensor
    weights: Tensor

    def __init__(self, hidden: int, classes: int, weights: Tensor | None = None) -> None:
        """``weights`` (classes,) are the weights of the classes in the loss; None: all 1."""
        super().__init__()
        self.out = nn.Linear(hidden, classes)
        self.register_buffer("temperature", torch.ones(()))
        chosen = torch.ones(classes) if weights is None else weights
        self.register_buffer("weights", chosen, persistent=False)

    def forward(self, state: Tensor) -> Tensor:
        """Return the logits (batch, classes) of a state (batch, hidden), not calibrated."""
        logits: Tensor = self.out(state)
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the calibrated probabilities (batch, classes) of logits (batch, classes)."""
        return (logits / self.temperature).softmax(-1)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross entropy of labels (batch,), in nats, before calibration."""
        return functional.cross_entropy(logits.float(), labels, self.weights)

    def calibrate(self, temperature: float) -> None:
        """Divide all logits by a temperature from now on."""
        self.temperature.fill_(temperature)
