"""Drawn shapes of numbers: whatever they are, an answer or a problem, and never anything else."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.corpus.answer import MEMBERS
from tests.corpus.house import House
from tests.corpus.routes import TAKERS, Taker

NUMBERS = st.one_of(
    st.floats(300, 400, width=32),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**20), 10**20),
    st.none(),
)
ODD = st.one_of(NUMBERS, st.booleans(), st.text(max_size=3), st.just([]), st.just({}))


def _rectangle(draw: Any) -> list[Any]:
    steps, features = draw(st.integers(0, 130)), draw(st.integers(0, 3))
    number = draw(NUMBERS)
    rows: list[Any] = [number if not features else [number] * features for _ in range(steps)]
    for _ in range(draw(st.integers(0, 2))):  # and then somewhere something else
        if rows:
            rows[draw(st.integers(0, len(rows) - 1))] = draw(st.one_of(ODD, st.lists(ODD)))
    return rows


SERIES = st.composite(_rectangle)()
SHAPES = st.lists(st.integers(-1, 70), min_size=0, max_size=4)
_PLACED = [taker for taker in TAKERS if taker.place and taker.method == "POST"]
_TENSOR = next(taker for taker in TAKERS if taker.template.endswith("{name}/infer"))


def draw(service: House, examples: int) -> None:
    """Send so many; raise AssertionError."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from([*_PLACED, _TENSOR]), SERIES, SHAPES)
    def send(taker: Taker, series: list[Any], shape: list[int]) -> None:
        body = taker.with_values(json.dumps(series).encode())
        if taker is _TENSOR:
            body = body.replace(b"[1, 60, 1]", json.dumps(shape).encode())
        path = service.of(taker.path)
        answer = service.client.request(
            taker.method,
            path,
            content=service.of(body),
            headers={"content-type": "application/json"},
        )
        if answer.status_code < 400:
            json.loads(answer.content, parse_constant=_refuse)
        else:
            assert answer.status_code in (400, 404, 409, 413, 422), answer.text
            assert answer.json().keys() >= MEMBERS

    send()


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in an answer")
