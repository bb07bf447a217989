import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.keys.limits import Quota, Rate


def admitted(rate: Rate, moments, due=0):
    count = 0
    for now in moments:
        due, wait = rate.next(due, int(now * 1e9))
        count += not wait
    return count


def test_a_burst_is_admitted_whole_and_not_one_more():
    assert admitted(Rate.parse("100/s"), [5.0] * 250) == 100
    assert admitted(Rate.parse("100/s", burst=7), [5.0] * 250) == 7
    assert admitted(Rate.parse("7/min"), [5.0] * 250) == 7


@given(
    st.integers(1, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 0.05), min_size=1, max_size=300),
)
def test_no_time_admits_more_than_its_share_and_a_burst(count, burst, gaps):
    rate, now, moments = Rate.parse(f"{count}/s", burst), 1_000.0, []
    for gap in gaps:
        now += gap
        moments.append(now)
    share = (moments[-1] - moments[0]) * count
    assert admitted(rate, moments) <= share + burst + 1e-3


def test_who_waits_as_long_as_told_is_admitted():
    rate, due, now = Rate.parse("3/s"), 0, 50 * 10**9
    for _ in range(3):
        due, wait = rate.next(due, now)
        assert wait == 0
    due, wait = rate.next(due, now)
    assert wait == 10**9 // 3
    assert rate.next(due, now + wait)[1] == 0


def test_a_clock_that_was_put_back_costs_no_more_than_a_burst():
    rate, due, now = Rate.parse("2/s"), 0, 10**15
    for _ in range(2):
        due, _ = rate.next(due, now)
    _, wait = rate.next(due, now - 10**14)
    assert 0 < wait <= 10**9


@pytest.mark.parametrize(
    "text", ["", "5", "0/s", "-1/s", "1.5/s", "5/week", "1/s ", "\u0663/s", "9" * 14]
)
def test_other_words_are_no_rate(text):
    with pytest.raises(ValueError, match="expected a count and a time"):
        Rate.parse(text)
    with pytest.raises(ValueError, match="expected a count and a time"):
        Quota.parse(text)


def test_a_quota_begins_anew_with_the_day():
    quota = Quota.parse("10/day")
    assert quota.period(86_399.9) + 1 == quota.period(86_400)
    assert quota.wait(86_390) == 10
