"""What JSON is refused however well it parses, and that nothing else is."""

import json
import re
import time

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.http.errors import InvalidRequest, MalformedRequest
from service.http.schemas import document, large
from service.http.schemas.document import parse

FILLER = ",".join(["1.25"] * 3000)  # a text long enough for the other way to count


def refusal(text: str | bytes) -> str:
    with pytest.raises(MalformedRequest) as refused:
        parse(text.encode() if isinstance(text, str) else text)
    return str(refused.value)


def short_and_long(text: str) -> list[str]:
    """Return two texts that hold what the first does."""
    return [text, f'{{"text": {text}, "numbers": [{FILLER}]}}']


@pytest.mark.parametrize(
    "doubled",
    [
        '{"a": 1, "a": 2}',
        '{"a": 1, "a": 1}',
        '{"a": 1, "\\u0061": 2}',
        '{"": 1, "": 2}',
        '{"x": [{"a": 1}, {"a": 1, "b": 2, "a": 3}]}',
        '[[[{"a": 1, "a": 2}]]]',
        '[[1], {"a": 1, "a": 2}]',
        '{"c": "::::", "a:": 1, "a:": 2}',
        '{"quote": "\\\\\\":", "a": 1, "a": 2}',
    ],
)
def test_a_key_that_is_there_twice_is_refused_wherever_it_is(doubled):
    for text in short_and_long(doubled):
        assert "twice" in refusal(text)


@pytest.mark.parametrize(
    "number",
    ["1" * 65, "-" + "1" * 64, "0." + "1" * 63, "1e" + "0" * 62 + "1", "1e+" + "0" * 62],
)
def test_a_number_of_more_than_64_characters_is_refused(number):
    for text in short_and_long(f"[1, {number}]") + short_and_long(f'{{"a": {number}, "b": "1"}}'):
        assert "more than 64 characters" in refusal(text)
        assert number not in refusal(text)
        assert parse(text.replace(number, number[:64] + " ").encode())


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}"), ('[0,{"]}":', "}]")])
def test_what_is_more_than_32_deep_is_refused(open_, close):
    each = open_.count("[") + open_.count("{")
    fits = 32 // each
    assert parse((open_ * fits + "0" + close * fits).encode()) is not None
    for text in short_and_long(open_ * (fits + 1) + "0" + close * (fits + 1)):
        assert "more than 32 deep" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        b'"\xff"',
        b'"\xed\xa0\x80"',
        rb'"\ud800"',
        rb'{"\udc00": 1}',
        b'"\n"',
        b'"\x00"',
        b"{} {}",
        b"[1, 2",
        b"[1,]",
        b"// all\n{}",
        b"{} \x00",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e400",
        b"[-1e400]",
        b"{'a': 1}",
        b"01",
    ],
)
def test_what_is_no_json_in_utf_8_is_refused(text):
    assert "The body is not JSON" in refusal(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.sampled_from('a:{}[]",\\\u00e9 0'), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.sampled_from('a:{"\\'), max_size=4), inner, max_size=4)
    ),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(JSON, st.booleans())
def test_all_other_documents_are_what_orjson_says(document, long):
    text = json.dumps([document, [1.25] * 3000] if long else document).encode()
    assert parse(text) == orjson.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b'"\\"' * 80_000,
        b'["' + b'\\"' * 120_000,
        b"[" * 250_000,
        b"1" * 250_000,
        b"e1" * 125_000,
        b'{"a":1,' * 35_000,
        b'{"a":' + b'"\\\\",' * 50_000,
        b"{" + b",".join(b'"%d":1' % n for n in range(20_000)) + b',"0":1}',
    ],
)
def test_no_quarter_of_a_megabyte_takes_long_to_refuse(text):
    began = time.process_time()
    refusal(text)
    assert time.process_time() - began < 0.2


@pytest.fixture
def pieces(monkeypatch):
    """Make every text large, and every piece small."""
    monkeypatch.setattr(document, "LONG", 0)
    monkeypatch.setattr(large, "PIECE", 8)


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=JSON, blank=st.sampled_from(["", " ", "\n\t  "]))
@pytest.mark.usefixtures("pieces")
def test_a_large_text_in_pieces_is_what_it_is_in_one(tree, blank):
    text = blank + json.dumps(tree, separators=(f"{blank},{blank}", f"{blank}:{blank}")) + blank
    assert parse(text.encode()) == orjson.loads(text)


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=JSON, data=st.data())
@pytest.mark.usefixtures("pieces")
def test_a_large_text_that_is_wrong_in_one_is_wrong_in_pieces(tree, data):
    text = bytearray(json.dumps(tree).encode())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place : place + data.draw(st.integers(0, 2))] = data.draw(
        st.sampled_from([b"", b",", b"[", b"]", b"}", b'"', b"\\", b":", b" ", b"1", b'""'])
    )
    try:
        right = orjson.loads(text)
    except orjson.JSONDecodeError:
        refusal(bytes(text))
        return
    try:
        found = parse(bytes(text))
    except MalformedRequest:
        assert "twice" in refusal(bytes(text))
    else:
        assert found == right


@pytest.mark.usefixtures("pieces")
def test_a_fault_in_a_key_of_a_large_text_is_told_where_it_stands():
    text = rb'{"pad":[1,2,3,4,5,6,7,8],"a\q":[1,2,3,4,5,6,7,8]}'
    (place,) = re.findall(r"at character (\d+)", refusal(text))
    assert abs(int(place) - text.index(rb"\q")) <= 1


def test_an_object_of_many_keys_in_a_large_text_is_refused_before_all_of_them_are_made():
    text = b"{%b}" % b",".join(b'"%d":1' % number for number in range(300_000))
    with pytest.raises(InvalidRequest, match="at most 1024 keys") as refused:
        parse(b'{"options":%b}' % text)
    (place,) = re.findall(r"before character (\d+)", str(refused.value))
    assert int(place) < 2 * large.PIECE
