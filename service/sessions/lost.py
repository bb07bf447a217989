"""In the place of a store that can no longer be opened: predictions go on, sessions do not."""

from collections.abc import Sequence
from typing import NoReturn

from service.sessions.errors import StoreUnavailable
from service.sessions.records import Found
from service.sessions.store import Change, Outcome, Usage


class LostStore:
    """A store that is down for as long as this process lives, and says ``why``."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def read(self, _ids: Sequence[str]) -> list[Found]:
        self._refuse()

    async def write(self, _changes: Sequence[Change]) -> list[Outcome]:
        self._refuse()

    async def close_sessions(self, _ids: Sequence[str]) -> None:
        self._refuse()

    async def expire(self, _now: float, _limit: int) -> int:
        self._refuse()

    async def usage(self, _tenant: str | None = None) -> Usage:
        self._refuse()

    async def secret(self) -> bytes:
        self._refuse()

    async def ready(self) -> bool:
        return False

    async def close(self) -> None:
        pass

    def _refuse(self) -> NoReturn:
        raise StoreUnavailable(self._why)
