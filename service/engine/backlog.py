"""Estimate how long a new request would wait, and whether to refuse it; time is an argument."""

import math

CALM = 1.0  # seconds without a refusal after which an overload is over
# In an overload the queue is limited to the larger of these:
HELD = 0.04  # of the longest wait
PART = 0.5  # of a batch
MEMORY = 0.5  # seconds of work over which the pace is averaged


class Backlog:
    """
    The estimated seconds of work in a queue, and the time that each of them really takes.

    The queue may grow to ``longest`` seconds of waiting, so that a burst is served.  A longer
    queue means that more comes than can be served: from then on, until nothing was refused for
    ``CALM`` seconds, the queue is limited to half a batch or a small part of ``longest``.  Those
    who are served in an overload then wait briefly, and almost as many are served.

    The pace is the time that passes per estimated second while jobs wait.  It accounts for what
    the estimates leave out: other threads, other processes, the event loop.
    """

    def __init__(self, longest: float = math.inf, pace: float = 1.0) -> None:
        self.work = 0.0  # estimated seconds of what waits
        self._longest = longest
        self._batch = 0.0  # estimated seconds of a batch of jobs like the last one added
        self._passed, self._done = MEMORY * pace, MEMORY
        self._since = 0.0  # when the last batch ended, or work began
        self._tight_until = -math.inf

    @property
    def pace(self) -> float:
        """Seconds that pass per estimated second of work."""
        return self._passed / self._done

    def admits(self, now: float) -> bool:
        """Whether one more request may wait; a refusal begins or prolongs an overload."""
        pace, limit = self._passed / self._done, self._longest
        if now < self._tight_until:
            limit = max(HELD * limit, PART * self._batch * pace)
        if self.work * pace <= limit:
            return True
        self._tight_until = now + CALM
        return False

    def overloaded(self, now: float) -> bool:
        """Whether a request was refused less than ``CALM`` seconds ago."""
        return now < self._tight_until

    def add(self, work: float, batch: float) -> None:
        """Add estimated seconds of work, of jobs whose full batch takes ``batch`` seconds."""
        self.work += work
        self._batch = batch

    def remove(self, work: float, *, last: bool) -> None:
        """Subtract work; ``last`` if nothing waits any more, which resets rounding errors."""
        self.work = 0.0 if last else self.work - work

    def begins(self, now: float) -> None:
        """Note that work begins after all runners were idle."""
        self._since = now

    def ran(self, work: float, now: float, *, others: bool) -> None:
        """Note that estimated seconds of work are done; ``others`` if more work waits."""
        passed, self._since = now - self._since, now
        if not others or passed <= 0 or work <= 0:
            return  # small batches are slow because nobody waits
        kept = max(0.0, 1 - work / MEMORY)
        self._passed = kept * self._passed + passed
        self._done = kept * self._done + work
