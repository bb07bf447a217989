"""A stream as bytes, and the same stream back."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.contract import StateKind, StateSpec
from service.sessions.codec import decode, encode
from service.sessions.errors import StateUnreadable
from service.sessions.stream import Stream, begin
from tests.engine.graphs import card

numbers = st.floats(width=32, allow_nan=True, allow_infinity=True)
CARD = card(
    features=("load", "rain", "wind"),
    targets=("load", "rain"),
    state=StateSpec(kind=StateKind.RECURRENT, tensors={"h": (2, 3), "c": (1,)}),
)


def matrix(rows, columns):
    shape = st.tuples(rows, st.just(columns))
    return shape.flatmap(lambda one: arrays.arrays(np.float32, one, elements=numbers))


some, four = st.integers(0, 4), st.just(4)
streams = st.builds(
    Stream,
    window=matrix(some, 3),
    past=matrix(some, 2),
    score=arrays.arrays(np.float64, (4, 2), elements=st.floats(allow_nan=False)),
    count=st.integers(0, 2**53),
    start=st.none()
    | st.just(datetime(2026, 11, 25, 12, 30, 0, 123456, UTC))
    | st.just(datetime(1900, 1, 1, tzinfo=timezone(timedelta(hours=1, seconds=30)))),
    static=st.none() | st.dictionaries(st.text(max_size=5), st.floats(-9, 9) | st.text(max_size=5)),
    state=st.none() | arrays.arrays(np.float32, 7, elements=numbers),
    expected=st.none() | matrix(four, 2),
)


def same(one, other) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    return one == other


@given(streams)
def test_a_stream_comes_back_as_it_was_and_the_same_one_gives_the_same_bytes(stream):
    written = encode(stream)
    found = decode(written, CARD)
    for field in fields(Stream):
        assert same(getattr(stream, field.name), getattr(found, field.name)), field.name
    assert encode(found) == written


@given(streams, st.data())
def test_bytes_that_were_cut_or_lengthened_are_no_stream(stream, data):
    written = encode(stream)
    cut = data.draw(st.integers(0, len(written) - 1))
    for broken in (written[:cut], written + b"\0"):
        with pytest.raises(StateUnreadable):
            decode(broken, CARD)


def test_bytes_of_a_later_version_are_no_stream():
    written = encode(begin(CARD))
    with pytest.raises(StateUnreadable, match="version 9"):
        decode(b"\x09" + written[1:], CARD)
