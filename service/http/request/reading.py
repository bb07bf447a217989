"""
Where bodies become values: a small one at once, a large one in a thread, one after another.

What reads a large body must let go of the interpreter now and then, so that the event loop goes on
meanwhile; ``schemas.document`` does.
"""

from asyncio import wrap_future
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Self, TypeVar

from service.http.errors import TooManyBodies

LARGE = 2**18  # bytes
Value = TypeVar("Value")


class Reading:
    """
    The thread that reads, and the bytes of the large bodies that are here.

    ``most`` is how many these may be together, those of bodies that are still coming among them.
    """

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reading")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def submit(self, work: Callable[[], Value]) -> Future[Value]:
        """Do the work in the thread, after all that was given to it before."""
        return self._thread.submit(work)

    def count(self, size: int) -> None:
        """Count more bytes, or fewer; raise TooManyBodies."""
        with self._lock:
            if size > 0 and self.held + size > self._most:
                raise TooManyBodies(self._most)
            self.held += size


class Hold:
    """The bytes of one body, counted until the block is left and nothing reads them any more."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._size = self._counted = 0
        self._read = False  # in the thread, which says when it is done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._read:
            self._release()

    def grow(self, size: int) -> None:
        """Count bytes that came; those of a small body do not count.  Raise TooManyBodies."""
        self._size += size
        if self._size > LARGE:
            self._reading.count(self._size - self._counted)
            self._counted = self._size

    async def read(self, work: Callable[[], Value], *, large: bool) -> Value:
        """Return what the work makes of the body, which is done in the thread if it is large."""
        if not large:
            return work()
        self._read = True
        future = self._reading.submit(work)
        future.add_done_callback(lambda _: self._release())
        return await wrap_future(future)

    def _release(self) -> None:
        self._reading.count(-self._counted)
        self._counted = 0
