"""Records to keep, and a clock that stands still until a test moves it."""

from dataclasses import replace

from service.sessions.records import Record
from service.sessions.store import Change

NOON = 1_700_000_000.0
HOUR = 3600.0
DAY = 24 * HOUR


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def record(id_: str = "a", **other) -> Record:
    """Return a session that was opened at noon and expires in an hour."""
    fields = {
        "id": id_,
        "tenant": "one",
        "model": "airline",
        "version": 3,
        "model_hash": "5e" * 32,
        "step": 0,
        "state": b"state",
        "request": b"",
        "answer": b"",
        "created": NOON + 0.1,
        "touched": NOON + 0.2,
        "expires": NOON + HOUR,
    }
    return Record(**fields | other)


def creation(id_: str = "a", **other) -> Change:
    return Change(record(id_, **other), after=None)


def following(before: Record, **other) -> Change:
    """Return the change to the step after ``before``."""
    return Change(replace(before, **{"step": before.step + 1} | other), after=before.step)
