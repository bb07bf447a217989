"""Infer requests that do not fit: the status, the place, and that nothing else breaks."""

import contextlib
import copy
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.errors import InvalidSequence
from service.http.errors import InvalidRequest, MalformedRequest
from service.http.schemas.oip import InferQuery
from tests.engine.graphs import card
from tests.http.inprocess import ATTENTION, GRU, Service, weeks
from tests.http.tensors import HEADER, binary, flat, framed, lengths, tensor

WINDOW = np.array([[[value] for value in weeks(30)]] * 2)
GOOD = tensor("sequences", WINDOW)
PATH = f"/v2/models/{GRU}/infer"


@pytest.fixture(scope="module")
def service(lasting: Service) -> Service:
    return lasting


def spoilt(position, value):
    values = WINDOW.copy()
    values[position] = value
    return tensor("sequences", values)


def data(*place, value):
    """Return the good input with another element at a place of its nested data."""
    entry = copy.deepcopy(GOOD)
    *path, last = place
    level = entry["data"]
    for step in path:
        level = level[step]
    level[last] = value
    return entry


def without(key):
    return {name: value for name, value in GOOD.items() if name != key}


ONE = "inputs[0]"


@pytest.mark.parametrize(
    ("document", "place", "says"),
    [
        (None, "the body", "expected an object, got null"),
        ([], "the body", "got an array"),
        ("text", "the body", "got a string"),
        (7, "the body", "got a number"),
        ({}, "inputs", "expected an array, got null"),
        ({"inputs": {}}, "inputs", "expected an array, got an object"),
        ({"inputs": []}, "inputs", "expected the input sequences"),
        ({"inputs": [7]}, ONE, "expected an object, got a number"),
        ({"inputs": [GOOD], "more": 1}, "more", "unknown field"),
        ({"inputs": [GOOD], "id": 7}, "id", "expected a string"),
        ({"inputs": [GOOD], "id": "x" * 257}, "id", "at most 256"),
        ({"inputs": [GOOD], "parameters": []}, "parameters", "expected an object"),
        (
            {"inputs": [GOOD], "parameters": {"binary_data_output": 1}},
            "parameters.binary_data_output",
            "expected true or false, got a number",
        ),
        ({"inputs": [GOOD], "parameters": {"mine": 1}}, "parameters.mine", "unknown; expected bin"),
        ({"inputs": [GOOD], "parameters": {"priority": 1}}, "parameters.priority", "expected 0"),
        ({"inputs": [GOOD], "parameters": {"priority": []}}, "parameters.priority", "expected 0"),
        ({"inputs": [GOOD], "parameters": {"sequence_id": 7}}, "parameters.sequence_id", "session"),
        (
            {"inputs": [GOOD], "parameters": {"sequence_end": True}},
            "parameters.sequence_end",
            "not kept here",
        ),
        ({"inputs": [GOOD], "parameters": {"timeout": -1}}, "parameters.timeout", "microseconds"),
        ({"inputs": [GOOD], "parameters": {"timeout": 1.5}}, "parameters.timeout", "microseconds"),
        (
            {"inputs": [GOOD | {"parameters": {"shared_memory_region": "a"}}]},
            f"{ONE}.parameters.shared_memory_region",
            "unknown; expected binary_data_size",
        ),
        (
            {"inputs": [GOOD], "outputs": [{"name": "mean", "parameters": {"classification": 1}}]},
            "outputs[0].parameters.classification",
            "unknown; expected binary_data",
        ),
        ({"inputs": [GOOD], "outputs": {}}, "outputs", "expected an array"),
        ({"inputs": [GOOD], "outputs": ["predictions"]}, "outputs[0]", "expected an object"),
        ({"inputs": [GOOD], "outputs": [{}]}, "outputs[0].name", "expected one of predictions"),
        ({"inputs": [GOOD], "outputs": [{"name": "attention"}]}, "outputs[0].name", "predictions"),
        ({"inputs": [GOOD], "outputs": [{"name": "predictions"}] * 2}, "outputs[1].name", "twice"),
        ({"inputs": [GOOD], "outputs": [{"name": "predictions", "a": 1}]}, "outputs[0].a", ""),
        ({"inputs": [lengths(30, 30)]}, "inputs", "expected the input sequences"),
        ({"inputs": [GOOD, GOOD]}, "inputs[1].name", "sequences is there twice"),
        ({"inputs": [GOOD | {"name": "x"}]}, f"{ONE}.name", "expected one of sequences, lengths"),
        ({"inputs": [GOOD | {"name": ["x"]}]}, f"{ONE}.name", "expected one of"),
        ({"inputs": [without("name")]}, f"{ONE}.name", "expected one of"),
        ({"inputs": [GOOD, tensor("future", WINDOW)]}, "inputs[1].name", "expected one of"),
        ({"inputs": [GOOD | {"datatype": "FP64"}]}, f"{ONE}.datatype", "expected FP32"),
        ({"inputs": [GOOD, lengths(30, 30) | {"datatype": "FP32"}]}, "inputs[1].datatype", "INT64"),
        ({"inputs": [without("datatype")]}, f"{ONE}.datatype", "expected FP32"),
        ({"inputs": [GOOD | {"more": 1}]}, f"{ONE}.more", "unknown field"),
        ({"inputs": [GOOD | {"parameters": 7}]}, f"{ONE}.parameters", "expected an object"),
        ({"inputs": [without("shape")]}, f"{ONE}.shape", "expected 3 dimensions, got null"),
        ({"inputs": [GOOD | {"shape": [2, 30]}]}, f"{ONE}.shape", "expected 3 dimensions, got 2"),
        ({"inputs": [GOOD | {"shape": [0, 30, 1]}]}, f"{ONE}.shape[0]", "at least 1"),
        ({"inputs": [GOOD | {"shape": [2, 0, 1]}]}, f"{ONE}.shape[1]", "at least 1"),
        ({"inputs": [GOOD | {"shape": [2, 30, -1]}]}, f"{ONE}.shape[2]", "at least 1"),
        ({"inputs": [GOOD | {"shape": [2.5, 30, 1]}]}, f"{ONE}.shape[0]", "whole number"),
        ({"inputs": [GOOD | {"shape": [True, 60, 1]}]}, f"{ONE}.shape[0]", "whole number"),
        ({"inputs": [GOOD | {"shape": [2**63, 2**63, 1]}]}, f"{ONE}.data", "got 2"),
        ({"inputs": [flat(GOOD) | {"shape": [2**63, 2, 1]}]}, f"{ONE}.data", "numbers, got 60"),
        ({"inputs": [flat(GOOD) | {"shape": [2, 29, 1]}]}, f"{ONE}.data", "58 numbers, got 60"),
        ({"inputs": [GOOD | {"shape": [2, 29, 1]}]}, f"{ONE}.data[0]", "array of 29, got 30"),
        ({"inputs": [without("data")]}, f"{ONE}.data", "expected an array, got null"),
        ({"inputs": [GOOD | {"data": "AAAA"}]}, f"{ONE}.data", "got a string"),
        ({"inputs": [GOOD | {"data": []}]}, f"{ONE}.data", "takes 60 numbers, got 0"),
        ({"inputs": [data(1, 17, value=[1, 2])]}, f"{ONE}.data[1][17]", "array of 1, got 2"),
        ({"inputs": [data(1, 17, value=5)]}, f"{ONE}.data[1][17]", "array of 1, got a number"),
        ({"inputs": [data(1, value=[])]}, f"{ONE}.data[1]", "array of 30, got 0"),
        ({"inputs": [data(1, 17, 0, value="7")]}, f"{ONE}.data[1][17][0]", "got a string"),
        ({"inputs": [data(1, 17, 0, value=True)]}, f"{ONE}.data[1][17][0]", "got a boolean"),
        ({"inputs": [data(1, 17, 0, value=[7])]}, f"{ONE}.data[1][17][0]", "got an array"),
        ({"inputs": [data(1, 17, 0, value=1e39)]}, "sequences[1][17][0]", "range of float32"),
        ({"inputs": [flat(GOOD) | {"data": [1.0] * 59 + [{}]}]}, f"{ONE}.data[59]", "an object"),
        ({"inputs": [GOOD, lengths(30)]}, "lengths", "expected 2, one a sequence, got 1"),
        ({"inputs": [GOOD, lengths([30, 30])]}, "lengths", "expected 2, one a sequence, got 2"),
        ({"inputs": [GOOD, lengths(30, 0)]}, "lengths[1]", "expected 1 to 30 steps, got 0"),
        ({"inputs": [GOOD, lengths(30, 31)]}, "lengths[1]", "expected 1 to 30 steps, got 31"),
        ({"inputs": [GOOD, lengths(-(2**63), 30)]}, "lengths[0]", "expected 1 to 30"),
        ({"inputs": [GOOD, lengths(30, 25)]}, "sequences[1].values", "26 to 104 steps, got 25"),
        (
            {"inputs": [GOOD, lengths(1, 1) | {"data": [30, 2.0]}]},
            "inputs[1].data[1]",
            "expected a whole number, got a fraction",
        ),
        ({"inputs": [GOOD, lengths(1, 1) | {"data": [30, None]}]}, "inputs[1].data[1]", "got null"),
        ({"inputs": [GOOD, lengths(1, 1) | {"data": [30, 2**63]}]}, "inputs[1].data", "INT64"),
        ({"inputs": [tensor("sequences", np.ones((65, 26, 1)))]}, "sequences", "at most 64"),
        ({"inputs": [tensor("sequences", np.ones((1, 105, 1)))]}, "sequences[0]", "26 to 104"),
        ({"inputs": [tensor("sequences", np.ones((1, 30, 2)))]}, "sequences[0]", "1 features"),
        ({"inputs": [tensor("sequences", np.full((1, 30, 1), np.nan))]}, "sequences[0]", "missing"),
    ],
)
async def test_a_tensor_that_does_not_fit_is_refused_with_its_place(
    service: Service, document, place, says
):
    answer = await service.client.post(PATH, content=json.dumps(document))
    await refused(service, answer, 422, place, says)


def sized(size):
    return {"inputs": [without("data") | {"parameters": {"binary_data_size": size}}]}


BYTES = WINDOW.astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("content", "place", "says"),
    [
        (
            framed(sized(240), BYTES[:-1]),
            f"{ONE}.parameters",
            "240 bytes behind the header, got 239",
        ),
        (framed(sized(240), BYTES + b"!"), "the body", "but it has"),
        (framed(sized(239), BYTES[:-1]), f"{ONE}.parameters", "takes 240 bytes, but it says 239"),
        (framed(sized(-240), BYTES), f"{ONE}.parameters", "takes 240 bytes, but it says -240"),
        (framed(sized("240"), BYTES), f"{ONE}.parameters", "but it says a string"),
        (framed(sized(240.0), BYTES), f"{ONE}.parameters", "but it says a number"),
        (framed({"inputs": [GOOD]}, BYTES), "the body", "but it has"),
        (
            framed({"inputs": [GOOD | {"parameters": {"binary_data_size": 240}}]}, BYTES),
            f"{ONE}.data",
            "not allowed beside binary_data_size",
        ),
        (
            framed({"inputs": [sized(2**63)["inputs"][0] | {"shape": [2**61, 1, 1]}]}, BYTES),
            f"{ONE}.parameters",
            "bytes behind the header, got 240",
        ),
        (binary(spoilt((1, 17), np.inf)), "sequences[1][17][0]", "range of float32"),
        (binary(spoilt((0, 0), -np.inf)), "sequences[0][0][0]", "range of float32"),
    ],
)
async def test_binary_data_that_do_not_fit_are_refused_with_both_numbers(
    service: Service, content, place, says
):
    body, headers = content
    answer = await service.client.post(PATH, content=body, headers=headers)
    await refused(service, answer, 422, place, says)


async def test_nan_is_refused_where_the_card_allows_no_missing_value(service: Service):
    content, headers = binary(spoilt((1, 17), np.nan))
    path = f"/v2/models/{ATTENTION}/infer"
    answer = await service.client.post(path, content=content, headers=headers)
    await refused(service, answer, 422, "sequences[1][17][0]", "a missing value")


@pytest.mark.parametrize(
    "length", ["", "-1", "0", "1.5", "abc", "0x10", "1e2", "9" * 40, "999999", "5", "²"]
)
async def test_a_bad_header_length_is_400(service: Service, length):
    content, headers = binary(GOOD)
    headers = {**headers, HEADER: length.encode()}
    answer = await service.client.post(PATH, content=content, headers=headers)
    await refused(service, answer, 400, "", "")


async def test_a_header_length_beyond_a_body_that_is_json_alone_is_400(service: Service):
    content = json.dumps({"inputs": [GOOD]})
    answer = await service.client.post(PATH, content=content, headers={HEADER: "99999"})
    await refused(service, answer, 400, "Inference-Header-Content-Length is 99999", "the body has")


async def test_two_header_lengths_are_400(service: Service):
    content, headers = binary(GOOD)
    headers = [*headers.items(), (HEADER, headers[HEADER])]
    answer = await service.client.post(PATH, content=content, headers=headers)
    await refused(service, answer, 400, "", "one whole number")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"id": NaN}', BYTES])
async def test_a_body_that_is_not_json_is_400(service: Service, content):
    for kind in ("application/json", "application/octet-stream"):
        answer = await service.client.post(PATH, content=content, headers={"content-type": kind})
        await refused(service, answer, 400, "", "")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/vnd.python.pickle"},
    ],
)
async def test_another_media_type_is_refused_with_those_accepted(service: Service, headers):
    answer = await service.client.post(PATH, content=b"{}", headers=headers)
    await refused(service, answer, 415, "", "")
    assert answer.headers["accept"] == "application/json, application/octet-stream"


async def test_a_body_over_the_limit_an_unknown_model_and_a_bad_deadline(service: Service):
    big = await service.client.post(PATH, content=b" " * 300_000)
    await refused(service, big, 413, "", "200000")
    for name in ("unknown", "..%2f", "a" * 300):
        answer = await service.client.post(f"/v2/models/{name}/infer", json={"inputs": [GOOD]})
        assert answer.status_code == 404
        assert answer.json()["error"] == answer.json()["detail"]
    late = {"x-request-timeout-ms": "0"}
    answer = await service.client.post(PATH, json={"inputs": [GOOD]}, headers=late)
    await refused(service, answer, 400, "", "")


async def refused(service: Service, answer, status, place, says):
    problem = answer.json()
    assert answer.status_code == status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"].startswith(place)
    assert says in problem["detail"]
    assert problem["error"] == problem["detail"]
    assert len(answer.content) < 4096
    good = await service.client.post(PATH, json={"inputs": [GOOD]})
    assert good.status_code == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
PLACES = [
    (), ("inputs",), ("inputs", 0), ("inputs", 1), ("outputs",), ("outputs", 0), ("parameters",),
    ("id",), *[("inputs", number, key) for number in (0, 1)
               for key in ("name", "shape", "datatype", "parameters", "data")],
    ("inputs", 0, "shape", 1), ("inputs", 0, "parameters", "binary_data_size"),
]  # fmt: skip


@given(place=st.sampled_from(PLACES), value=JSON, cut=st.integers(-9, 9))
def test_whatever_comes_is_a_query_or_an_error_of_the_table(place, value, cut):
    content, headers = binary(GOOD, lengths(30, 26), outputs=[{"name": "predictions"}], id="a")
    size = int(headers[HEADER])
    document, rest = json.loads(content[:size]), content[size:]
    document["parameters"] = {}
    level = document
    for step in place[:-1]:
        level = level[step]
    if place:
        level[place[-1]] = value
    header = json.dumps(document if place else value).encode()
    body = header + (rest + bytes(cut) if cut > 0 else rest[: len(rest) + cut])
    with contextlib.suppress(InvalidRequest, InvalidSequence, MalformedRequest):
        query = InferQuery(body, len(header), card(features=("co2",), targets=("co2",)), 3)
        assert 1 <= len(query.rows) <= 3
        assert all(row.sequence.ndim == 2 for row in query.rows)
