"""A linear map by least squares, from sums over batches; knows no network."""

import numpy as np
from numpy.typing import NDArray


class Ridge:
    """
    Least squares with a penalty on the squared weights, in closed form (Hoerl, Kennard 1970).

    Rows are added batch by batch, and only their products are kept: W = (X'X + p I)^-1 X'Y.
    """

    def __init__(self, steps: int, horizon: int) -> None:
        self.squares = np.zeros((steps, steps))
        self.products = np.zeros((steps, horizon))

    def add(self, inputs: NDArray[np.floating], wanted: NDArray[np.floating]) -> None:
        """Add (rows, steps) and (rows, horizon); a row with a NaN in either is left out."""
        whole = np.isfinite(inputs).all(1) & np.isfinite(wanted).all(1)
        x, y = inputs[whole].astype(np.float64), wanted[whole].astype(np.float64)
        self.squares += x.T @ x
        self.products += x.T @ y

    def solve(self, penalty: float) -> NDArray[np.float64]:
        """Return the weights (steps, horizon); ``penalty`` is a share of the mean of X'X."""
        steps = len(self.squares)
        size = max(np.trace(self.squares) / steps, np.finfo(np.float64).tiny)
        weights: NDArray[np.float64] = np.linalg.solve(
            self.squares + penalty * size * np.eye(steps), self.products
        )
        return weights
