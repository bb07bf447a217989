"""Bad requests: the status, the place, and that nothing else breaks."""

import inspect

import pytest

import models.serving as serving_errors
import service.engine.errors as engine_errors
import service.http.errors as http_errors
import service.keys.errors as key_errors
import service.sessions.errors as session_errors
from service.http.problems.table import TABLE
from tests.http.inprocess import ATTENTION, GRU, SMALL, Service, running, weeks

GOOD = weeks(26)


@pytest.fixture(scope="module")
def service(lasting: Service) -> Service:
    return lasting


def test_every_error_a_caller_can_meet_is_in_the_table():
    def below(module, base):
        return {
            kind
            for _, kind in inspect.getmembers(module, inspect.isclass)
            if issubclass(kind, base) and kind is not base
        }

    domain = below(engine_errors, engine_errors.EngineError)
    domain |= below(session_errors, session_errors.SessionError)
    domain.add(session_errors.StoreUnavailable)
    domain |= below(serving_errors, serving_errors.ServingError)
    families = {key_errors.Unauthorized, key_errors.LimitReached}
    domain |= below(key_errors, key_errors.AccessError) - families
    edge = below(http_errors, http_errors.RequestError)
    assert domain | edge == set(TABLE)
    types = [problem.type for problem in TABLE.values()]
    assert len(set(types)) == len(types)


@pytest.mark.parametrize(
    ("sequences", "place", "says"),
    [
        ([], "sequences", "1 to 64"),
        ([GOOD] * 65, "sequences", "got 65"),
        ([[]], "sequences[0].values", "at least one step"),
        ([GOOD, [[]]], "sequences[1].values[0]", "at least one feature"),
        ([GOOD, [[], []]], "sequences[1].values[0]", "at least one feature"),
        ([GOOD[:25]], "sequences[0].values", "26 to 104 steps, got 25"),
        ([GOOD * 5], "sequences[0].values", "got 130"),
        ([[[1, 2]] * 26], "sequences[0].values", "expected 1 features a step (co2), got 2"),
        ([[*GOOD[:3], [1], *GOOD[4:]]], "sequences[0].values[3]", "got an array"),
        ([[[1]] * 7 + [[1, 2]] * 20], "sequences[0].values[7]", "got 2"),
        ([[*GOOD, "7"]], "sequences[0].values[26]", "got a string"),
        ([[*GOOD, True]], "sequences[0].values[26]", "got a boolean"),
        ([[*GOOD, {}]], "sequences[0].values[26]", "got an object"),
        ([[None] * 26], "sequences[0].values", "every value is missing"),
        ([[[v] for v in GOOD] + [["7"]]], "sequences[0].values[26][0]", "got a string"),
        ([[*GOOD, 1e39]], "sequences[0].values[26]", "range of float32"),
        ([[*GOOD, 10**400]], "", ""),
        (["text"], "sequences[0].values", "got a string"),
        ([None], "sequences[0].values", "got null"),
        ([{"values": GOOD, "valeus": 1}], "sequences[0].valeus", ""),
        ([{"id": "a"}], "sequences[0].values", ""),
        ([{"values": GOOD, "id": 7}], "sequences[0].id", ""),
        ([{"values": GOOD, "start": "yesterday"}], "sequences[0].start", "ISO 8601"),
        ([{"values": GOOD, "start": "9999-12-31"}], "sequences[0].start", "calendar"),
        ([{"values": GOOD, "future": [1]}], "sequences[0].future", "no covariates"),
    ],
)
async def test_a_sequence_that_does_not_fit_is_refused_with_its_place(
    service: Service, sequences, place, says
):
    answer = await service.predict({"sequences": sequences})
    problem = answer.json()
    assert answer.status_code in (400, 422), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"].startswith(f"{place}:" if place else "")
    assert says in problem["detail"]
    assert len(answer.content) < 4096
    assert (await service.predict({"sequences": [GOOD]})).status_code == 200


async def test_a_missing_value_is_welcome_only_where_the_card_allows_it(service: Service):
    months = [24.8, 26.1, 26.4, None, 24.3, 22.9, 21.9, 20.9, 20.5, 20.9, 21.6, 22.7]
    refused = await service.predict({"sequences": [months]}, ATTENTION)
    assert refused.status_code == 422
    assert "sequences[0].values[3]: a missing value" in refused.json()["detail"]
    welcome = await service.predict({"sequences": [[*GOOD, None, GOOD[0]]]})
    assert welcome.status_code == 200


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"sequences": [[NaN]]}', 400),
        (b'{"sequences": [[1e400]]}', 400),
        (b'{"sequences": [[Infinity]]}', 400),
        (b'{"sequences": []} trailing', 400),
        (b"\xff\xfe{\x00}\x00", 400),
        (b'{"a": "\xed\xa0\x80"}', 400),
        (b"null", 422),
        (b"7", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"sequences": null}', 422),
        (b'{"sequences": [[1]], "more": 1}', 422),
        (b'{"sequences": [[1]], "quantiles": [0.2]}', 422),
        (b'{"sequences": [[1]], "quantiles": ["0.1"]}', 422),
        (b'{"sequences": [[1]], "explain": ["weights"]}', 422),
        (b"[" * 100_000, 400),
    ],
)
async def test_a_body_that_cannot_be_read_gets_400_and_one_that_cannot_be_used_422(
    service: Service, content, status
):
    answer = await service.client.post(
        f"/v1/models/{GRU}/predict", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": ""},
        {"content-type": "multipart/form-data; boundary=x"},
    ],
)
async def test_another_media_type_is_refused(service: Service, headers):
    answer = await service.client.post(f"/v1/models/{GRU}/predict", content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert answer.headers["accept"] == "application/json, application/vnd.apache.arrow.stream"


async def test_a_body_over_the_limit_is_refused_declared_or_streamed(service: Service):
    async def stream():
        for _ in range(300):
            yield b" " * 1000

    for content in (b" " * 300_000, stream()):
        answer = await service.client.post(
            f"/v1/models/{GRU}/predict",
            content=content,
            headers={"content-type": "application/json"},
        )
        assert answer.status_code == 413


@pytest.mark.parametrize("deadline", ["0", "-1", "1.5", "NaN", "", "1e3", "9" * 40])
async def test_a_malformed_deadline_is_refused(service: Service, deadline):
    answer = await service.predict(
        {"sequences": [GOOD]}, headers={"x-request-timeout-ms": deadline}
    )
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/models/unknown", 404),
        ("GET", "/v1/models/", 404),
        ("GET", "/v1/models/..%2f..%2fetc", 404),
        ("GET", "/v1/models/%00", 404),
        ("GET", f"/v1/models/{'a' * 300}", 404),
        ("POST", f"/v1/models/{'a' * 300}/predict", 404),
        ("PUT", "/v1/models/co2-gru", 405),
        ("GET", "/v1/models/co2-gru/predict", 405),
    ],
)
async def test_unknown_paths_and_wrong_methods_are_problems_too(
    service: Service, method, path, status
):
    answer = await service.client.request(method, path, json={})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["error"] == answer.json()["detail"]
    assert ("allow" in answer.headers) == (status == 405)


async def test_more_sequences_than_may_wait_are_refused_at_once():
    crowded = SMALL.model_copy(update={"max_waiting": 3})  # as by others; a command refuses it
    async with running(crowded) as service:
        answer = await service.predict({"sequences": [GOOD] * 4})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["type"] == "urn:seqserve:problem:overloaded"
        assert (await service.predict({"sequences": [GOOD] * 3})).status_code == 200


async def test_the_largest_request_is_served_and_a_larger_one_told_so_where_no_more_may_wait():
    async with running(SMALL.model_copy(update={"max_sequences": 3, "max_waiting": 3})) as service:
        assert (await service.predict({"sequences": [GOOD] * 3})).status_code == 200
        answer = await service.predict({"sequences": [GOOD] * 4})
        assert answer.status_code == 422
        assert "expected 1 to 3 sequences, got 4" in answer.json()["detail"]


async def test_no_problem_repeats_what_the_caller_sent(service: Service):
    secret = "5ecret-value"  # noqa: S105  not one
    for body in (
        {"sequences": [[secret]]},
        {"sequences": [{"values": GOOD, "id": [secret]}]},
        {"sequences": [{"values": GOOD, "start": secret}]},
        {"sequences": [GOOD], "explain": [secret]},
        {"sequences": secret},
    ):
        answer = await service.predict(body)
        assert answer.status_code == 422
        assert secret not in answer.text
