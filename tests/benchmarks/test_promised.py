"""What measures a promise ends with what was not kept of it, and only then."""

import pytest

from benchmarks import halfopen, overload
from benchmarks.halfopen import Crowd
from benchmarks.load import Load
from benchmarks.openloop import Seen

KEPT = {"answered": [0.02] * 100, "refused": [0.001] * 100, "live": [0.01], "in_time": 100}


def levels(**changed) -> overload.Levels:
    """Return a measurement in which ten times the load is unlike the others in some way."""
    memory = changed.pop("memory", 160.0)
    calm, most = Seen(1.0, **KEPT), Seen(1.0, **KEPT | changed)
    return {0.8: (calm, 1.0, 160.0), 10.0: (most, 1.0, memory)}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"in_time": 89}, "goodput at 10x is 0.89 of the peak, not 0.9"),
        ({"answered": [0.041] * 100}, "p99 at 10x is 2.0 times"),
        ({"refused": [0.011] * 100}, "at 10x refusals take 11.0 ms, not 10"),
        ({"live": [0.01, 0.051]}, "at 10x liveness took 51 ms, not 50"),
        ({"memory": 230.0}, "at 10x there are 70 MiB more, not 64"),
        ({"without_retry_after": 1}, "at 10x 1 requests had"),
    ],
)
def test_each_promise_of_an_overload_that_is_broken_is_said(changed, says):
    assert list(overload.broken(levels())) == []
    (told,) = overload.broken(levels(**changed))
    assert told.startswith(says)


@pytest.mark.parametrize(
    ("worth", "closed", "says"),
    [
        (89.0, [1.0, 2.0], "good clients had 0.89 of what they have alone, not 0.9"),
        (91.0, [1.0, 36.0], "the last half-open connection was closed after 36.0 s, not 35"),
        (91.0, [1.0], "1 half-open connections are open still"),
    ],
)
def test_each_promise_to_good_clients_that_is_broken_is_said(worth, closed, says):
    def told(worth, closed):
        load = Load(0.0, 0.0, 0.0)
        alone, beside = (halfopen.Seen(load, each) for each in (100.0, worth))
        return list(halfopen.broken((alone, beside, alone), Crowd([0.0, 0.0], closed)))

    assert told(91.0, [1.0, 2.0]) == []
    assert told(worth, closed) == [says]
