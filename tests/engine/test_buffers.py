"""What is lent is nobody else's, what is kept is bounded."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.engine.buckets import Bucket
from service.engine.buffers import Pool

SMALL, MIDDLE, LARGE = Bucket(1, 8), Bucket(2, 8), Bucket(4, 8)


class Thing:
    """As many bytes as its bucket has cells; knows whether it is in use."""

    def __init__(self, bucket):
        self.bucket = bucket
        self.nbytes = bucket.size * bucket.steps
        self.lock = threading.Lock()


class Maker:
    """Remembers what it made."""

    def __init__(self):
        self.made = []

    def __call__(self, bucket):
        self.made.append(bucket)
        return Thing(bucket)


def use(pool, *buckets):
    for bucket in buckets:
        with pool.lend(bucket) as thing:
            assert thing.bucket == bucket


def test_a_bucket_used_again_is_not_made_again():
    maker = Maker()
    use(Pool(maker, 1000), SMALL, LARGE, SMALL, LARGE)
    assert maker.made == [SMALL, LARGE]


def test_what_is_lent_is_not_lent_twice():
    pool = Pool(Maker(), 1000)
    with pool.lend(SMALL) as one, pool.lend(SMALL) as other:
        assert one is not other
        assert pool.kept == 0
    assert pool.kept == 16


def test_many_threads_never_share_and_make_no_more_than_they_are():
    maker = Maker()
    pool = Pool(maker, 1000)
    together = threading.Barrier(4, timeout=20)

    def work(_):
        together.wait()
        for _ in range(500):
            for bucket in (SMALL, LARGE):
                with pool.lend(bucket) as thing:
                    assert thing.lock.acquire(blocking=False)
                    thing.lock.release()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert all(maker.made.count(bucket) <= 4 for bucket in (SMALL, LARGE))
    assert pool.kept == sum(bucket.size * bucket.steps for bucket in maker.made)


def test_the_bucket_longest_unused_goes_when_there_is_too_much():
    maker = Maker()
    pool = Pool(maker, 32)
    use(pool, SMALL, MIDDLE, SMALL, MIDDLE, SMALL)
    assert maker.made == [SMALL, MIDDLE]
    use(pool, Bucket(2, 4))  # 8 + 16 + 8 fit
    assert pool.kept == 32
    use(pool, Bucket(1, 4))
    assert pool.kept == 20
    use(pool, SMALL, Bucket(2, 4), Bucket(1, 4))
    assert maker.made == [SMALL, MIDDLE, Bucket(2, 4), Bucket(1, 4)]
    use(pool, MIDDLE)
    assert maker.made[-1] == MIDDLE


def test_a_bucket_used_lately_stays_with_all_that_was_made_for_it():
    maker = Maker()
    pool = Pool(maker, 32)
    with pool.lend(SMALL), pool.lend(SMALL):
        pass
    use(pool, MIDDLE, SMALL, Bucket(1, 4))  # 2 x 8, 16 and 4 bytes: the middle one goes
    assert pool.kept == 20
    with pool.lend(SMALL), pool.lend(SMALL):
        assert maker.made.count(SMALL) == 2


def test_what_is_larger_than_all_that_may_be_kept_is_lent_and_let_go():
    maker = Maker()
    pool = Pool(maker, 31)
    use(pool, LARGE, LARGE)
    assert maker.made == [LARGE, LARGE]
    assert pool.kept == 0


def test_what_was_in_use_when_something_failed_is_not_used_again():
    maker = Maker()
    pool = Pool(maker, 1000)
    with pytest.raises(RuntimeError), pool.lend(SMALL):
        raise RuntimeError
    assert pool.kept == 0
    use(pool, SMALL)
    assert maker.made == [SMALL, SMALL]
