"""Which steps may be taken together."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from service.sessions.turns import AT_ONCE, rounds

sessions = st.lists(st.sampled_from("abcdefg"), max_size=60)


@given(sessions)
def test_every_step_is_in_one_turn_and_no_session_twice_in_any_round(asked):
    found = list(rounds(asked))
    assert sorted(place for turns in found for turn in turns for place in turn) == list(
        range(len(asked))
    )
    for turns in found:
        names = [asked[place] for turn in turns for place in turn]
        assert len(set(names)) == len(names)


@given(sessions)
def test_the_steps_of_a_session_keep_their_order_from_round_to_round(asked):
    order = [place for turns in rounds(asked) for turn in turns for place in turn]
    for name in set(asked):
        places = [place for place in order if asked[place] == name]
        assert all(one < other for one, other in pairwise(places))


def test_no_turn_is_so_large_that_others_would_wait_long():
    (turns,) = rounds([str(number) for number in range(2 * AT_ONCE + 1)])
    assert [len(turn) for turn in turns] == [AT_ONCE, AT_ONCE, 1]
