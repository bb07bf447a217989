"""When a process that died is replaced: at once, after a while, or never; time is an argument."""

from collections import deque

WINDOW = 60.0  # seconds in which deaths are counted
AT_ONCE = 3  # deaths in the window that are no pattern yet
FIRST, LONGEST = 0.5, 10.0  # seconds of delay
HOPELESS = 5  # deaths in a row, all before the first process ever served


class Restarts:
    """Replace who dies now and then at once, and wait longer and longer for a crash loop."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque()
        self._unborn = 0  # that died before anybody served
        self.served = False  # whether a process ever has

    @property
    def hopeless(self) -> bool:
        """Whether one process after the other dies, and none has ever served."""
        return not self.served and self._unborn >= HOPELESS

    def serves(self) -> None:
        """Hear that a process serves."""
        self.served = True

    def died(self, now: float) -> float:
        """Hear of a death; return in how many seconds its replacement may start."""
        self._unborn += not self.served
        self._deaths.append(now)
        while self._deaths[0] < now - WINDOW:
            self._deaths.popleft()
        many = len(self._deaths) - AT_ONCE
        return 0.0 if many <= 0 else float(min(FIRST * 2 ** (many - 1), LONGEST))
