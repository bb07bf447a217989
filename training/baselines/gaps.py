"""Fill what is missing from what came before, for methods that cannot leave a step out."""

import numpy as np
from numpy.typing import NDArray


def filled(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """
    Return (..., time, columns) with each gap filled by the last value observed before it.

    What comes before the first value observed gets that one; a column never observed stays NaN.
    """
    return _forward(_forward(values)[..., ::-1, :])[..., ::-1, :]


def _forward(values: NDArray[np.floating]) -> NDArray[np.float64]:
    steps = np.arange(values.shape[-2])[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, steps), axis=-2)
    return np.take_along_axis(values.astype(np.float64), last, axis=-2)
