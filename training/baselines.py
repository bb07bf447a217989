"""What a network must beat: repeating the last season; knows nothing of networks."""

import numpy as np
from numpy.typing import NDArray

from models import seasonal
from training.windows import Rows, Windows


def seasonal_naive(windows: Windows, rows: Rows, season: int) -> NDArray[np.float32]:
    """Repeat the last season known at each origin, (batch, horizon, targets)."""
    return seasonal.seasonal_naive(
        windows.values[:, : windows.targets],
        windows.origins[rows],
        windows.first[rows],
        windows.horizon,
        season,
    )
