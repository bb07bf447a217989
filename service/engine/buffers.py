"""Things made for a bucket, kept from batch to batch and never lent twice at once; any things."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from service.engine.buckets import Bucket


class Sized(Protocol):
    """What takes memory."""

    @property
    def nbytes(self) -> int:
        """The bytes it takes."""


Thing = TypeVar("Thing", bound=Sized)


class Pool(Generic[Thing]):
    """
    Lend what ``make`` made for a bucket; keep at most ``capacity`` bytes of what is not lent.

    The buckets longest unused go first.  May be used by several threads at once.
    """

    def __init__(self, make: Callable[[Bucket], Thing], capacity: int) -> None:
        self._make = make
        self._capacity = capacity
        self._lock = threading.Lock()
        self._free: OrderedDict[Bucket, list[Thing]] = OrderedDict()  # the last used at the end
        self._kept = 0  # bytes

    @property
    def kept(self) -> int:
        """The bytes of what is not lent."""
        return self._kept

    @contextmanager
    def lend(self, bucket: Bucket) -> Iterator[Thing]:
        """Lend a thing of the bucket; what was in use when something failed is not used again."""
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
