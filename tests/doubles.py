"""Stand-ins written by hand: runners that can be held, fail or forget, and one who listens."""

import asyncio
import atexit
import queue
import resource
import shutil
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from service.engine.jobs import Answer, Row

PATIENCE = 10.0  # seconds; a test that waits longer has found a deadlock
VERDICTS = Path(tempfile.mkdtemp(prefix="verdicts-"))  # so that no two tests try the same file
atexit.register(shutil.rmtree, VERDICTS, ignore_errors=True)


@contextmanager
def full_disk(size=0):
    """Let no file grow beyond so many bytes, as if there were no more room."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def row(value, length=3) -> Row:
    """Return a sequence of one feature that says ``value`` at every step."""
    return Row(np.full((length, 1), value, np.float32))


def rows(*values) -> list[Row]:
    return [row(value) for value in values]


def value_of(asked: Row) -> float:
    return float(asked.sequence[0, 0])


def answer_to(asked: Row) -> Answer:
    """Answer a row with twice its value, so that a mix-up of rows shows."""
    doubled = np.full((1, 1, 1), 2 * asked.sequence[0, 0], np.float32)
    return Answer(doubled, doubled[..., 0])


def said(answers) -> list[float]:
    """Read the values that ``answer_to`` doubled."""
    return [float(answer.predictions[0, 0, 0]) / 2 for answer in answers]


async def within(awaitable, seconds=PATIENCE):
    """Wait, but not for ever."""
    return await asyncio.wait_for(awaitable, seconds)


class HeldRunner:
    """Doubles its rows, remembers its batches, and can be held in the middle of a run."""

    def __init__(self, *, held=False):
        self.batches = []  # the values of each batch, in the order they started
        self._entered = threading.Semaphore(0)
        self._gate = threading.Event()
        if not held:
            self._gate.set()

    def run(self, asked):
        self.batches.append([value_of(each) for each in asked])
        self._entered.release()
        if not self._gate.wait(PATIENCE):
            raise TimeoutError("Nobody released the runner.")
        return self.outcome(asked)

    def outcome(self, asked):
        return [answer_to(each) for each in asked]

    def release(self):
        """Let this run and all later ones end."""
        self._gate.set()

    async def entered(self):
        """Wait until one more run has begun."""
        assert await asyncio.to_thread(self._entered.acquire, timeout=PATIENCE)


class PoisonedRunner(HeldRunner):
    """Raises whenever its batch contains the poison."""

    def __init__(self, poison, error=RuntimeError, *, held=False):
        super().__init__(held=held)
        self._poison = poison
        self._error = error

    def outcome(self, asked):
        if self._poison in [value_of(each) for each in asked]:
            raise self._error("poisoned")
        return super().outcome(asked)


class ForgetfulRunner:
    """Loses the last answer of every batch."""

    def run(self, asked):
        return [answer_to(each) for each in asked][:-1]


class JudgedRunner:
    """
    Waits for a verdict before each batch ends: "answer" or "fail".

    What fails is the batch's first value, then and in every other batch.
    """

    def __init__(self):
        self.ran = []  # every value that reached the runner, once for each batch that was judged
        self.failed = set()  # the values that fail
        self._verdicts = queue.SimpleQueue()
        self._open = threading.Event()

    def judge(self, verdict):
        self._verdicts.put(verdict)

    def open(self):
        """Answer everything from now on."""
        self._open.set()
        for _ in range(64):  # whoever waits for a verdict is let through
            self._verdicts.put("answer")

    def run(self, asked):
        values = [value_of(each) for each in asked]
        if not set(values) <= set(self.ran):  # no part of a batch that failed
            self.ran.extend(values)
            if not self._open.is_set() and self._verdicts.get(timeout=PATIENCE) == "fail":
                self.failed.add(values[0])
        if self.failed & set(values):
            raise RuntimeError("judged")
        return [answer_to(each) for each in asked]


class RecordingObserver:
    """Remembers what it heard, and in which thread."""

    def __init__(self):
        self.reports = []
        self.waiting = []
        self.threads = set()

    def on_batch(self, report):
        self.threads.add(threading.get_ident())
        self.reports.append(report)

    def on_waiting(self, waiting):
        self.threads.add(threading.get_ident())
        self.waiting.append(waiting)
