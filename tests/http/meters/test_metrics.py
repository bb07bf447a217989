"""What is counted in plain numbers is what Prometheus is told."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from service.engine.jobs import Timing
from service.http.meters.metrics import Metrics
from service.http.meters.tally import SECONDS, Tally

seconds = st.one_of(st.sampled_from([0.0, *SECONDS]), st.floats(0, 100))


def text(values, *, together: bool) -> bytes:
    registry = CollectorRegistry()
    histogram = Histogram("it", "It", buckets=SECONDS, registry=registry)
    tally = Tally(histogram)
    for value in values:
        (tally if together else histogram).observe(value)
    if together:
        tally.flush()
        tally.flush()  # and nothing twice
    lines = generate_latest(registry).splitlines()
    return b"\n".join(line for line in lines if b"_created" not in line and b"_sum" not in line)


@given(st.lists(seconds, max_size=20))
def test_a_tally_adds_up_to_what_the_histogram_would_have_counted(values):
    assert text(values, together=True) == text(values, together=False)


async def test_what_was_counted_is_handed_on_though_nobody_asks():
    metrics = Metrics()
    metrics.requests.count("/route", "POST", 200)
    metrics.requests.observe(Timing(0.001, 0.002), 0.01)
    child = metrics.requests.requests.labels("/route", "POST", "200")
    async with asyncio.timeout(5):
        while not child._value.get():  # noqa: ASYNC110  the library tells nobody
            await asyncio.sleep(0.01)
    assert child._value.get() == 1
    sums = [
        metrics.requests.latency.labels(part)._sum.get() for part in ("queue", "compute", "rest")
    ]
    assert sums == pytest.approx([0.001, 0.002, 0.007])
