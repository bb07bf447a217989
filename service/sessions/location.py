"""Open the store of sessions at a URL."""

import time
from collections.abc import Callable

from service.sessions.errors import UnusableStore
from service.sessions.schema import Durability
from service.sessions.sqlite import SqliteStore
from service.sessions.store import Limits, Store

SQLITE = "sqlite:///"
REDIS = ("redis://", "rediss://", "unix://")


def open_store(
    url: str,
    *,
    limits: Limits = Limits(),  # noqa: B008  frozen
    durability: Durability = "process",
    timeout: float = 5.0,
    clock: Callable[[], float] = time.time,
) -> Store:
    """
    Return the store at ``url``; raise UnusableStore if it names none or one that cannot be used.

    ``sqlite:///sessions.db`` is a file in the working directory, ``sqlite:////srv/sessions.db``
    one anywhere; ``redis://``, ``rediss://`` and ``unix://`` are redis-py's.  ``durability`` is
    for SQLite alone: that of a Redis server is the server's to say.
    """
    if url.startswith(SQLITE) and len(url) > len(SQLITE):
        path = url.removeprefix(SQLITE)
        return SqliteStore(path, limits=limits, durability=durability, timeout=timeout, clock=clock)
    if not url.startswith(REDIS):  # which is not repeated: there may be a password in it
        raise UnusableStore(f"The store's URL has to begin with {SQLITE} or {', '.join(REDIS)}.")
    try:
        # Only when it is asked for: the package is an extra.
        from service.sessions.redis import RedisStore  # noqa: PLC0415
    except ImportError:
        raise UnusableStore(
            "Sessions in Redis need a package that is not installed: pip install 'seqserve[redis]'"
        ) from None
    return RedisStore(url, limits=limits, timeout=timeout, clock=clock)
