"""Silence libraries' loggers and warnings for a while."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def quiet(loggers: Sequence[str], level: int, advice: Sequence[str]) -> Iterator[None]:
    """Raise the loggers to a level, and drop the warnings that match one of the patterns."""
    chosen = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in chosen]
    with warnings.catch_warnings():
        for pattern in advice:
            warnings.filterwarnings("ignore", message=pattern)
        for logger in chosen:
            logger.setLevel(level)
        try:
            yield
        finally:
            for logger, before in zip(chosen, levels, strict=True):
                logger.setLevel(before)
