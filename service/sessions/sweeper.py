"""Expire idle sessions from time to time."""

import logging

from service.repeated import Repeated
from service.sessions.errors import StoreUnavailable
from service.sessions.sessions import Sessions

PAUSE = 30.0  # seconds between two looks, on average

log = logging.getLogger(__name__)


def sweeper(sessions: Sessions, pause: float = PAUSE) -> Repeated:
    """Return a context manager that expires sessions, and goes on when the store fails."""

    async def sweep() -> None:
        while gone := await sessions.expire():
            log.info("%d sessions have expired", gone)

    return Repeated("sweeper", sweep, pause, spread=0.5, foreseen=(StoreUnavailable,))
