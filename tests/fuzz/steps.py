"""Drawn steps of a session, held against what a session is: the fold of its steps in order."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.corpus.house import House
from tests.corpus.routes import STREAM

NUMBERS = st.one_of(st.integers(-1, 2), st.sampled_from([-(2**63), 2**62, 10**14]))
PAYLOADS = st.sampled_from([[340.5], [341.0], [[342.0]], [None], [340.5, 341.0]])
BAD = st.sampled_from([[], [[1, 2]], ["x"], [True], [1e39], None, {}])
STEPS = st.lists(st.tuples(NUMBERS, st.one_of(PAYLOADS, PAYLOADS, BAD)), max_size=12)


def draw(service: House, examples: int) -> None:
    """Let so many sessions take some steps each; raise AssertionError."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(STEPS)
    def walk(walked: list[tuple[int, object]]) -> None:
        opened = service.client.post(f"/v1/models/{STREAM}/sessions", json={})
        path = f"/v1/sessions/{opened.json()['session']}"
        last, taken, said = 0, None, b""
        for ahead, values in walked:
            number = last + ahead if abs(ahead) < 10 else ahead
            answer = service.client.post(f"{path}/steps/{number}", json={"values": values})
            expected = _expected(number, last, values, taken)
            assert answer.status_code in expected, (number, last, values, answer.text)
            if answer.status_code == 409:
                assert answer.json()["expected_step"] == last + 1
            if answer.status_code == 200 and number == last:
                assert answer.content == said
                assert answer.headers["idempotent-replay"] == "true"
            elif answer.status_code == 200:
                last, taken, said = number, values, answer.content
        assert service.client.get(path).json()["step"] == last
        assert service.client.delete(path).status_code == 204

    walk()


def _expected(number: int, last: int, values: object, taken: object) -> set[int]:
    if not 1 <= number < 10**15:
        return {422}
    if values in ([], ["x"], [True], None, {}):
        return {422}
    if number == last:
        return {200} if _flat(values) == _flat(taken) else {422}
    if number != last + 1:
        return {409}
    return {422} if values in ([[1, 2]], [1e39]) else {200}


def _flat(values: object) -> object:
    if isinstance(values, list) and values and isinstance(values[0], list):
        return [each for row in values for each in row] if len(values[0]) == 1 else values
    return values
