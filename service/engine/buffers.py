"""A pool of reusable objects, such as input buffers, one kind per bucket."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from service.engine.buckets import Bucket


class Sized(Protocol):
    """An object of known size."""

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""


Thing = TypeVar("Thing", bound=Sized)


class Pool(Generic[Thing]):
    """
    Lend objects made by ``make`` for a bucket, each to one borrower at a time.

    At most ``capacity`` bytes are kept for reuse; the buckets unused for the longest go first.
    May be used by several threads at once.
    """

    def __init__(self, make: Callable[[Bucket], Thing], capacity: int) -> None:
        self._make = make
        self._capacity = capacity
        self._lock = threading.Lock()
        self._free: OrderedDict[Bucket, list[Thing]] = OrderedDict()  # the last used at the end
        self._kept = 0  # bytes

    @property
    def kept(self) -> int:
        """The bytes kept for reuse, without what is lent."""
        return self._kept

    @contextmanager
    def lend(self, bucket: Bucket) -> Iterator[Thing]:
        """Lend an object of the bucket; it is not reused if the block raises."""
        thing = self._take(bucket) or self._make(bucket)
        yield thing
        self._give_back(bucket, thing)

    def _take(self, bucket: Bucket) -> Thing | None:
        with self._lock:
            free = self._free.get(bucket)
            if not free:
                return None
            thing = free.pop()
            self._kept -= thing.nbytes
            if not free:
                del self._free[bucket]
            return thing

    def _give_back(self, bucket: Bucket, thing: Thing) -> None:
        with self._lock:
            self._free.setdefault(bucket, []).append(thing)
            self._free.move_to_end(bucket)
            self._kept += thing.nbytes
            while self._kept > self._capacity:
                oldest, free = next(iter(self._free.items()))
                self._kept -= free.pop().nbytes
                if not free:
                    del self._free[oldest]
