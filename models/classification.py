"""The measured accuracy of a classifier on a card."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, FiniteFloat, NonNegativeInt, model_validator

from models.document import Document

MAJORITY, NEAREST = "the most frequent class", "the nearest series"

Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class ClassificationAccuracy(Document):
    """
    The held-out accuracy of a classifier, beside two methods that learn no weights.

    ``calibration_error`` is the expected calibration error with 15 bins of equal width over the
    largest probability (Naeini et al. 2015; Guo et al. 2017): the mean distance, weighted by the
    series in a bin, between how sure the model is and how often it is right.
    ``uncalibrated_error`` is the same before ``temperature`` divided the logits.  ``log_loss`` is
    in nats.  ``macro_f1`` is the mean over the classes; a class never predicted has 0.
    """

    series: Annotated[int, Field(ge=1)]
    accuracy: Share
    majority_accuracy: Share  # of always naming the class most frequent in training
    nearest_accuracy: Share  # of the class of the nearest series of the training part
    log_loss: Annotated[FiniteFloat, Field(ge=0)]
    macro_f1: Share
    calibration_error: Share
    uncalibrated_error: Share
    temperature: Annotated[FiniteFloat, Field(gt=0)]
    recall: Mapping[str, Share]  # per class, in the order of the card's classes
    confusion: tuple[tuple[NonNegativeInt, ...], ...]  # of [actual][predicted], series

    @model_validator(mode="after")
    def _check_confusion(self) -> Self:
        if {len(row) for row in (self.confusion, *self.confusion)} != {len(self.recall)}:
            raise ValueError("confusion must have a row and a column for each class")
        return self

    @property
    def loses_to(self) -> tuple[str, ...]:
        """Which of the two methods beside it are right more often."""
        others = {MAJORITY: self.majority_accuracy, NEAREST: self.nearest_accuracy}
        return tuple(name for name, accuracy in others.items() if accuracy > self.accuracy)
