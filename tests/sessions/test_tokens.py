"""States that leave: nobody changes one, and nobody makes one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sessions.errors import NotASession
from service.sessions.records import Record
from service.sessions.tokens import Exported, seal, unseal

KEY = b"k" * 32
RECORD = Record("id", "tenant", "small", 3, "ab12", 7, b"\0state\xff", b"r", b"a", 1.0, 2.0, 3.0)


def test_a_token_holds_the_state_and_where_it_is_from():
    assert unseal(seal(RECORD, KEY), KEY) == Exported("small", 3, "ab12", 7, b"\0state\xff")


def test_a_token_says_nothing_of_its_session_or_tenant():
    assert b"tenant" not in base64.urlsafe_b64decode(seal(RECORD, KEY) + "==")


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_token_with_any_byte_changed_is_refused(place, change):
    sealed = bytearray(base64.urlsafe_b64decode(seal(RECORD, KEY) + "=="))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(NotASession, match="changed"):
        unseal(base64.urlsafe_b64encode(sealed).rstrip(b"=").decode(), KEY)


@pytest.mark.parametrize("more", ["=", "==", "\n", " ", "+", "A"])
def test_a_token_is_spelled_in_one_way_alone(more):
    with pytest.raises(NotASession):
        unseal(seal(RECORD, KEY) + more, KEY)


def test_a_token_of_another_key_is_refused():
    with pytest.raises(NotASession):
        unseal(seal(RECORD, b"other"), KEY)


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda b: base64.b64encode(b).decode()))
def test_whatever_is_no_token_is_refused(text):
    with pytest.raises(NotASession):
        unseal(text, KEY)
