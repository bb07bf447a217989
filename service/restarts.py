"""Decide when a process that died is replaced: at once, after a delay, or never."""

from collections import deque

WINDOW = 60.0  # seconds in which deaths are counted
AT_ONCE = 3  # deaths in the window that are replaced without delay
FIRST, LONGEST = 0.5, 10.0  # seconds of delay
HOPELESS = 5  # deaths in a row, all before the first process ever served


class Restarts:
    """Exponential backoff for crash loops; occasional deaths are replaced at once."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque()
        self._unborn = 0  # deaths before any process has served
        self.served = False  # whether a process ever has

    @property
    def hopeless(self) -> bool:
        """Whether several processes have died and none has ever served."""
        return not self.served and self._unborn >= HOPELESS

    def serves(self) -> None:
        """Note that a process serves."""
        self.served = True

    def died(self, now: float) -> float:
        """Note a death at ``now``; return the seconds until its replacement may start."""
        self._unborn += not self.served
        self._deaths.append(now)
        while self._deaths[0] < now - WINDOW:
            self._deaths.popleft()
        many = len(self._deaths) - AT_ONCE
        return 0.0 if many <= 0 else float(min(FIRST * 2 ** (many - 1), LONGEST))
