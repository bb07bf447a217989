"""
The errors of training that a user can fix.

* TrainingError
  - RecipeError      the recipe says something impossible
  - DataError        the table does not hold what the recipe says; names file, row and column
  - NonFiniteAnswer  the network answers infinity or not-a-number
  - Outperformed     the network loses to a baseline, and nobody said to publish it anyway
  - ParityError      the exported file does not answer as its network does
"""

import math
from collections.abc import Mapping


class TrainingError(Exception):
    """Base class: the command prints the message alone, without a traceback."""


class RecipeError(TrainingError):
    """The recipe says something impossible."""


class DataError(TrainingError):
    """The table does not hold what the recipe says it holds."""

    def __init__(
        self,
        source: str,
        problem: str,
        *,
        row: int | None = None,
        column: str | None = None,
        advice: str,
    ) -> None:
        place = [source]
        if row is not None:
            place.append(f"row {row}")
        if column is not None:
            place.append(f"column {column!r}")
        super().__init__(f"{', '.join(place)}: {problem}\n  {advice}")
        self.source = source
        self.row = row
        self.column = column


class NonFiniteAnswer(TrainingError):
    """The network answers with numbers that are not finite."""

    def __init__(self) -> None:
        super().__init__(
            "The network answers with numbers that are not finite.\n"
            "  Look for extreme values in the table, or lower learning_rate."
        )


class Outperformed(TrainingError):
    """The network makes a larger error than a baseline that costs nothing."""

    def __init__(self, name: str, ratios: Mapping[str, float]) -> None:
        lost = " and ".join(
            f"{ratio:.4g} times that of {baseline}"
            if math.isfinite(ratio)
            else f"above that of {baseline}, which makes none"
            for baseline, ratio in ratios.items()
        )
        super().__init__(
            f"{name}: on held-out data its error is {lost}; the model was not published.\n"
            "  Change the options or the recipe, see what else there is with seqserve compare, or "
            "publish it with --anyway."
        )
        self.ratios = dict(ratios)


class ParityError(TrainingError):
    """The exported file does not answer as its network does, so it is not published."""

    def __init__(self, difference: float, tolerance: float, case: str) -> None:
        super().__init__(
            f"ONNX Runtime and torch differ by {difference:.2e} (scaled) at {case}, "
            f"more than {tolerance:.0e}; the model was not published."
        )
        self.difference = difference
