"""What the plain way reads it reads as the careful way does, and it takes nothing that is wrong."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.errors import RequestError
from service.http.schemas import native, plain

MOST = 5
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -0.0, 1e-320, 1e39, 2**63, 2**64 - 1]),
)
rows = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(numbers, min_size=width, max_size=width))
)
odd = st.one_of(
    st.none(), st.booleans(), st.text(max_size=3), st.lists(numbers, max_size=2), st.just({})
)
values = st.one_of(
    st.lists(numbers, max_size=6),
    rows,
    st.lists(st.one_of(numbers, odd), max_size=4),
    st.lists(st.lists(st.one_of(numbers, odd), max_size=3), max_size=4),
    odd,
)
items = st.one_of(
    values,
    st.fixed_dictionaries(
        {"values": values},
        optional={
            "id": st.one_of(st.text(max_size=5), st.just("x" * 257), odd),
            "start": st.one_of(st.text(max_size=5), odd),
            "future": values,
            "more": odd,
        },
    ),
)
documents = st.one_of(
    st.fixed_dictionaries(
        {"sequences": st.one_of(st.lists(items, max_size=MOST + 1), odd)},
        optional={
            "quantiles": st.one_of(st.lists(numbers, max_size=3), odd),
            "explain": st.one_of(st.lists(st.just("attention"), max_size=2), odd),
            "more": odd,
        },
    ),
    odd,
)


def carefully(body):
    try:
        return native._read_carefully(body, MOST)
    except RequestError:
        return None


def same(one, other) -> bool:
    if one is None or other is None:
        return one is other
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


@given(documents, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_plain_means_what_the_careful_way_says(document, ascii_only, indent):
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    body = text.encode("utf-8", "surrogatepass")
    found, wanted = plain.read(body, MOST), carefully(body)
    if found is None:
        return
    assert wanted is not None, "the plain way took what is wrong"
    assert (found.quantiles, found.attention) == (wanted.quantiles, wanted.attention)
    for one, other in zip(found.series, wanted.series, strict=True):
        assert same(one.values, other.values)
        assert same(one.future, other.future)
        assert (one.id, one.start) == (other.id, other.start)


@pytest.mark.parametrize(
    "document",
    [
        {"sequences": [[1, 2.5, -3]]},
        {"sequences": [[[1, 2], [3, 4]], [[5, 6]]]},
        {"sequences": [{"values": [1.0, 2.0], "id": "A", "start": "2026-01-01"}]},
        {"sequences": [{"values": [1.0], "future": [[1, 0], [0, 1]]}], "quantiles": [0.1, 0.9]},
        {"sequences": [[1.0]], "explain": ["attention"]},
    ],
)
def test_what_ordinary_clients_send_is_plain(document):
    body = json.dumps(document).encode()
    assert plain.read(body, MOST) is not None
    assert carefully(body) is not None


@pytest.mark.parametrize(
    "body",
    [
        b'{"sequences": [[1]], "sequences": [[2]]}',
        b'{"sequences": [{"values": [1], "values": [2]}]}',
        b'{"sequences": [{"values": [1], "id": "a", "id": "b"}]}',
        b'{"sequences": [[1, [2]], [3, 4]]}',
        b'{"sequences": [[[1, [2]], [3, 4]]]}',
        b'{"sequences": [[[1, 2], [3]]]}',
        b'{"sequences": [[1, null]]}',
        b'{"sequences": [[1], [2], [3], [4], [5], [6]]}',
        b'{"sequences": []}',
        b'{"sequences": [[]]}',
        b'{"sequences": [[[]]]}',
        b'{"sequences": [[[1], [], [2, 3]]]}',
        b'{"sequences": [[[1], [2], []]]}',
        b'{"sequences": [[1], [[2, 3], [4]]]}',
        b'{"sequences": [[true]]}',
        b'{"sequences": [["1"]]}',
        b'{"squncs": [[1]]}',
        b'{"s.quences": [[1]]}',
        b'{"sequences": [[1]]} 2',
        b"\xef\xbb\xbf{}",
        b"",
    ],
)
def test_what_is_unusual_is_left_to_the_careful_way(body):
    assert plain.read(body, MOST) is None


def test_numbers_are_those_of_the_text_to_the_last_bit():
    texts = ["0.1", "1e-45", "16777217", "3.4028235e38", "-0.0", "123456789.123456789"]
    asked = plain.read(f'{{"sequences": [[{",".join(texts)}]]}}'.encode(), MOST)
    wanted = np.array([float(text) for text in texts]).astype(np.float32)
    assert asked.series[0].values[:, 0].tobytes() == wanted.tobytes()
