"""Which steps may be taken together."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from service.sessions.turns import AT_ONCE, turns

sessions = st.lists(st.sampled_from("abcdefg"), max_size=60)


@given(sessions)
def test_every_step_is_in_one_turn_and_no_session_twice_in_any(asked):
    found = list(turns(asked))
    assert sorted(place for turn in found for place in turn) == list(range(len(asked)))
    for turn in found:
        names = [asked[place] for place in turn]
        assert len(set(names)) == len(names)


@given(sessions)
def test_the_steps_of_a_session_keep_their_order(asked):
    order = [place for turn in turns(asked) for place in turn]
    for name in set(asked):
        places = [place for place in order if asked[place] == name]
        assert all(one < other for one, other in pairwise(places))


def test_no_turn_is_so_large_that_others_would_wait_long():
    assert [len(turn) for turn in turns([str(n) for n in range(2 * AT_ONCE + 1)])] == [
        AT_ONCE,
        AT_ONCE,
        1,
    ]
