"""How long a newcomer would wait, and whether that is too long: arithmetic; time is an argument."""

import math

CALM = 1.0  # seconds without a refusal after which an overload is over
HELD = 0.04  # of the longest wait, or
PART = 0.5  # of a batch: what the queue is held at during an overload
MEMORY = 0.5  # seconds of work from which the pace is known


class Backlog:
    """
    The foretold seconds of all that waits, and how fast such seconds go by.

    A queue may grow to ``longest`` seconds of waiting, so that a burst is served and clients who
    wait for their answers before they go on are seldom refused.  More than that means that more
    comes than can be served; from then on, until nobody has been refused for a while, the queue
    is held at half a batch, or a small part of the longest wait: who is served then waits as
    briefly as in quieter times, and almost as many are served.

    The pace is the time that passes for each foretold second while others wait; it holds whatever
    the foretelling leaves out: other threads, other processes, the work of the event loop.
    """

    def __init__(self, longest: float = math.inf, pace: float = 1.0) -> None:
        self.work = 0.0  # foretold seconds of what waits
        self._longest = longest
        self._batch = 0.0  # foretold seconds of the batch that the last newcomer could fill
        self._passed, self._done = MEMORY * pace, MEMORY
        self._since = 0.0  # when the work was last looked at
        self._tight_until = -math.inf

    @property
    def pace(self) -> float:
        """Seconds that pass for each foretold second."""
        return self._passed / self._done

    def admits(self, now: float) -> bool:
        """Whether one more may wait; a refusal is remembered."""
        pace, limit = self._passed / self._done, self._longest
        if now < self._tight_until:
            limit = max(HELD * limit, PART * self._batch * pace)
        if self.work * pace <= limit:
            return True
        self._tight_until = now + CALM
        return False

    def overloaded(self, now: float) -> bool:
        """Whether somebody was refused a moment ago."""
        return now < self._tight_until

    def add(self, work: float, batch: float) -> None:
        """Let in so many seconds of work, of a kind that makes batches of so many seconds."""
        self.work += work
        self._batch = batch

    def remove(self, work: float, *, last: bool) -> None:
        """Let go of work; ``last`` if nothing waits any more, so that no error adds up."""
        self.work = 0.0 if last else self.work - work

    def begins(self, now: float) -> None:
        """Hear that work begins after a rest."""
        self._since = now

    def ran(self, work: float, now: float, *, others: bool) -> None:
        """Hear that so many seconds of work are done; ``others`` if some waited meanwhile."""
        passed, self._since = now - self._since, now
        if not others or passed <= 0 or work <= 0:
            return  # small batches are slow because nobody waits
        kept = max(0.0, 1 - work / MEMORY)
        self._passed = kept * self._passed + passed
        self._done = kept * self._done + work
