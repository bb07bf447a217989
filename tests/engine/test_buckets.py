"""Few shapes, and what they waste is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from service.engine.buckets import Bucket, bucket_of, round_up

sizes, lengths = st.integers(1, 2**20), st.integers(1, 2**16)


@given(sizes, lengths, lengths)
def test_a_bucket_holds_the_batch_and_wastes_less_than_nine_sixteenths(size, some, other):
    steps, longest = sorted((some, other))
    bucket = bucket_of(size, steps, longest)
    assert bucket.size >= size
    assert bucket.steps >= steps
    assert 4 * bucket.size < 5 * size or bucket.size == size
    assert 4 * bucket.steps < 5 * steps or bucket.steps == steps
    assert 16 * bucket.size * bucket.steps < 25 * size * steps


@given(sizes, lengths, lengths)
def test_no_bucket_is_longer_than_the_model_allows(size, some, other):
    steps, longest = sorted((some, other))
    assert bucket_of(size, steps, longest).steps <= longest


@given(sizes, lengths, lengths)
def test_a_bucket_is_its_own_bucket(size, some, other):
    steps, longest = sorted((some, other))
    bucket = bucket_of(size, steps, longest)
    assert bucket_of(*bucket, longest) == bucket


@given(st.integers(1, 2**20), st.integers(1, 2**20))
def test_a_larger_number_has_no_smaller_bucket(some, other):
    small, large = sorted((some, other))
    assert round_up(small) <= round_up(large)


def test_powers_of_two_waste_nothing_and_buckets_are_few():
    assert [round_up(2**power) for power in range(13)] == [2**power for power in range(13)]
    assert len({round_up(number) for number in range(1, 4097)}) == 44


def test_the_longest_sequence_is_a_bucket_of_its_own():
    assert bucket_of(33, 97, 100) == Bucket(40, 100)
    assert bucket_of(33, 97, 512) == Bucket(40, 112)
