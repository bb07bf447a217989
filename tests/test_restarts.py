"""Who dies now and then is replaced at once; a crash loop is slowed down, and can be hopeless."""

from service.restarts import Restarts


def test_a_death_now_and_then_is_replaced_at_once():
    restarts = Restarts()
    restarts.serves()
    assert {restarts.died(now * 30.0) for now in range(100)} == {0.0}
    assert not restarts.hopeless


def test_a_crash_loop_waits_longer_and_longer_up_to_a_bound_and_is_forgiven():
    restarts = Restarts()
    restarts.serves()
    delays = [restarts.died(float(now)) for now in range(10)]
    assert delays == [0, 0, 0, 0.5, 1, 2, 4, 8, 10, 10]
    assert restarts.died(100.0) == 0
    assert not restarts.hopeless


def test_it_is_hopeless_only_while_nobody_has_served():
    restarts = Restarts()
    for now in range(4):
        restarts.died(float(now))
        assert not restarts.hopeless
    restarts.died(4.0)
    assert restarts.hopeless
    restarts.serves()
    assert not restarts.hopeless
