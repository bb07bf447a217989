"""The Open Inference Protocol: health, metadata, and tensors in JSON and in binary."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.repository import Repository
from service.http.schemas.oip import InferQuery
from service.http.schemas.oip_documents import InferRequest, InferResponse
from tests.engine.graphs import Graph, card
from tests.http.inprocess import ATTENTION, GRU, SMALL, Service, running, weeks
from tests.http.tensors import HEADER, binary, flat, lengths, read, tensor

WINDOWS = np.array([[[value] for value in weeks(30, start)] for start in (330, 350, 310)])
YEARS = np.array([[[20 + step % 12 + row] for step in range(24)] for row in range(2)])


@pytest.fixture(scope="module")
def service(lasting: Service) -> Service:
    return lasting


async def infer(service: Service, *inputs, model=GRU, **top):
    body = {"inputs": list(inputs)} | top
    return await service.client.post(f"/v2/models/{model}/infer", json=body)


async def infer_binary(service: Service, *inputs, model=GRU, **top):
    content, headers = binary(*inputs, **top)
    path = f"/v2/models/{model}/infer"
    return await service.client.post(path, content=content, headers=headers)


async def test_the_server_says_who_it_is_that_it_lives_and_that_it_is_ready():
    async with running() as service:
        found = (await service.client.get("/v2")).json()
        assert found["name"] == "seqserve"
        assert found["extensions"] == [
            "binary_tensor_data",
            "classification",
            "model_configuration",
            "model_repository",
            "model_repository(unload_dependents)",
            "statistics",
        ]
        assert (await service.client.get("/v2/health/live")).json() == {"live": True}
        assert (await service.client.get("/v2/health/ready")).json() == {"ready": True}
        for path in (f"/v2/models/{GRU}/ready", f"/v2/models/{GRU}/versions/1/ready"):
            assert (await service.client.get(path)).json() == {"name": GRU, "ready": True}
        await service.engine.__aexit__()
        assert (await service.client.get("/v2/health/live")).status_code == 200
        assert (await service.client.get("/v2/health/ready")).status_code == 503
        assert (await service.client.get(f"/v2/models/{GRU}/ready")).status_code == 503


async def test_the_metadata_are_the_tensors_of_the_card(service: Service):
    for path in (f"/v2/models/{ATTENTION}", f"/v2/models/{ATTENTION}/versions/1"):
        assert (await service.client.get(path)).json() == {
            "name": ATTENTION,
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [
                {"name": "sequences", "datatype": "FP32", "shape": [-1, -1, 1]},
                {"name": "lengths", "datatype": "INT64", "shape": [-1]},
            ],
            "outputs": [
                {"name": "predictions", "datatype": "FP32", "shape": [-1, 6, 1, 3]},
                {"name": "mean", "datatype": "FP32", "shape": [-1, 6, 1]},
                {"name": "attention", "datatype": "FP32", "shape": [-1, -1]},
            ],
        }


async def test_flat_nested_and_binary_tensors_get_the_native_answer_to_the_bit(service: Service):
    native = (await service.predict({"sequences": WINDOWS.tolist()})).json()["predictions"]
    expected = np.array([list(one["quantiles"].values()) for one in native], np.float32)
    inputs = tensor("sequences", WINDOWS)
    wanted = [{"name": "predictions", "parameters": {"binary_data": True}}]
    for answer in (
        await infer(service, inputs),
        await infer(service, flat(inputs)),
        await infer_binary(service, inputs),
        await infer(service, inputs, outputs=wanted),
        await infer_binary(service, inputs, outputs=wanted),
    ):
        document, found = read(answer)
        assert (document["model_name"], document["model_version"]) == (GRU, "1")
        assert found["predictions"].shape == (3, 13, 1, 3)
        assert found["predictions"][:, :, 0].transpose(0, 2, 1).tobytes() == expected.tobytes()


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(26, 40), st.floats(-1e3, 1e3)), min_size=1, max_size=7),
    padding=st.sampled_from([0.0, 1e6, np.nan, np.inf]),
    column=st.booleans(),
    outgoing=st.booleans(),
)
def test_what_lies_beyond_a_length_and_the_neighbours_change_no_bit(
    rows, padding, column, outgoing
):
    async def ask():
        async with running() as service:
            steps = np.array([length for length, _ in rows])
            values = np.full((len(rows), steps.max(), 1), padding)
            for row, (length, start) in zip(values, rows, strict=True):
                row[:length, 0] = weeks(length, start)
            entries = [
                tensor("lengths", steps[:, np.newaxis] if column else steps, "INT64"),
                tensor("sequences", values),
            ]
            parameters = {"binary_data_output": outgoing}
            _, found = read(await infer_binary(service, *entries, parameters=parameters))
            for row, length, together in zip(values, steps, found["predictions"], strict=True):
                _, alone = read(await infer(service, tensor("sequences", [row[:length]])))
                assert alone["predictions"].tobytes() == together.tobytes()

    asyncio.run(ask())


async def test_attention_comes_when_asked_for_with_zeros_beyond_a_length(service: Service):
    inputs = tensor("sequences", YEARS), lengths(24, 15)
    outputs = [
        {"name": "attention"},
        {"name": "predictions", "parameters": {"binary_data": True}},
    ]
    document, found = read(await infer(service, *inputs, model=ATTENTION, outputs=outputs))
    assert [output["name"] for output in document["outputs"]] == ["attention", "predictions"]
    assert found["attention"].shape == (2, 24)
    assert found["attention"].sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert (found["attention"][1, 15:] == 0).all()
    assert (found["attention"][1, :15] > 0).all()
    for outputs in (None, []):
        _, plain = read(await infer(service, *inputs, model=ATTENTION, outputs=outputs))
        assert list(plain) == ["predictions"]
        np.testing.assert_allclose(plain["predictions"], found["predictions"], rtol=1e-5)


async def test_an_output_says_for_itself_whether_it_is_binary(service: Service):
    top = {"parameters": {"binary_data_output": True}, "model": ATTENTION}
    outputs = [{"name": "predictions", "parameters": {"binary_data": False}}, {"name": "attention"}]
    document, _ = read(await infer(service, tensor("sequences", YEARS), outputs=outputs, **top))
    assert ["data" in output for output in document["outputs"]] == [True, False]


async def test_the_mean_is_an_output_with_the_native_bits(service: Service):
    native = (await service.predict({"sequences": WINDOWS.tolist()})).json()["predictions"]
    outputs = [{"name": "mean", "parameters": {"binary_data": True}}, {"name": "predictions"}]
    _, found = read(await infer(service, tensor("sequences", WINDOWS), outputs=outputs))
    expected = np.array([one["mean"] for one in native], np.float32)
    assert found["mean"].shape == (3, 13, 1)
    assert found["mean"][:, :, 0].tobytes() == expected.tobytes()
    assert found["predictions"].shape == (3, 13, 1, 3)


async def test_an_id_is_echoed_and_parameters_that_say_nothing_are_taken(service: Service):
    silent = {"priority": 0, "sequence_id": 0, "sequence_start": False, "timeout": 10**7}
    inputs = tensor("sequences", WINDOWS)
    document, _ = read(await infer(service, inputs, id="a-7", parameters=silent))
    assert document["id"] == "a-7"
    nothing = inputs | {"parameters": None}
    document, _ = read(await infer(service, nothing, id=None, outputs=None, parameters=None))
    assert "id" not in document


async def test_a_body_without_a_media_type_is_read_for_tritonclient_sends_none(service: Service):
    content, headers = binary(tensor("sequences", WINDOWS))
    path = f"/v2/models/{GRU}/infer"
    bare = {HEADER: headers[HEADER]}
    assert (await service.client.post(path, content=content, headers=bare)).status_code == 200


async def test_missing_values_are_null_in_json_and_nan_in_binary(service: Service):
    values = WINDOWS.copy()
    values[1, 3] = np.nan
    inputs = tensor("sequences", values)
    _, found = read(await infer(service, inputs))
    _, same = read(await infer_binary(service, inputs))
    assert found["predictions"].tobytes() == same["predictions"].tobytes()
    _, plain = read(await infer(service, tensor("sequences", WINDOWS)))
    assert (found["predictions"] == plain["predictions"]).all(axis=(1, 2, 3)).tolist() == [1, 0, 1]


async def test_known_covariates_are_an_input_of_their_own(tmp_path):
    several = card(targets=("a", "b"), features=("a", "b", "c", "d"), known=("d",), horizon=3)
    Repository(tmp_path).publish(several.name, Graph(several).write)
    async with running(SMALL.model_copy(update={"models": tmp_path})) as service:
        values, future = (
            tensor("sequences", np.ones((2, 5, 4))),
            tensor("future", np.ones((2, 3, 1))),
        )
        _, found = read(await infer_binary(service, future, values, model=several.name))
        assert found["predictions"].shape == (2, 3, 2, 3)
        listed = (await service.client.get(f"/v2/models/{several.name}")).json()["inputs"]
        assert listed[2] == {"name": "future", "datatype": "FP32", "shape": [-1, 3, 1]}
        for wrong, says in (
            ([values], "sequences[0].future: expected 3 steps of the known covariates"),
            ([values, tensor("future", np.ones((1, 3, 1)))], "future: expected 2, one a sequence"),
            ([values, tensor("future", np.ones((2, 2, 1)))], "expected shape (3, 1), got (2, 1)"),
            ([values, tensor("future", np.full((2, 3, 1), np.nan))], "a missing value"),
        ):
            refused = await infer(service, *wrong, model=several.name)
            assert refused.status_code == 422
            assert says in refused.json()["detail"]


async def test_a_version_can_be_named(service: Service):
    content, headers = binary(tensor("sequences", WINDOWS))
    for version, status in (("1", 200), ("2", 404), ("x", 404), ("9" * 30, 404)):
        path = f"/v2/models/{GRU}/versions/{version}"
        answer = await service.client.post(f"{path}/infer", content=content, headers=headers)
        assert answer.status_code == status
        assert (await service.client.get(path)).status_code == status
        assert (await service.client.get(f"{path}/ready")).status_code == status


async def test_the_configuration_says_what_the_card_says(service: Service):
    for path in (f"/v2/models/{ATTENTION}/config", f"/v2/models/{ATTENTION}/versions/1/config"):
        found = (await service.client.get(path)).json()
        assert found["name"] == ATTENTION
        assert found["max_batch_size"] == SMALL.max_sequences
        assert found["input"] == [
            {"name": "sequences", "data_type": "TYPE_FP32", "dims": [-1, 1], "optional": False},
            {"name": "lengths", "data_type": "TYPE_INT64", "dims": [1], "optional": True},
        ]
        assert [(one["name"], one["dims"]) for one in found["output"]] == [
            ("predictions", [6, 1, 3]),
            ("mean", [6, 1]),
            ("attention", [-1]),
        ]
        facts = {name: value["string_value"] for name, value in found["parameters"].items()}
        assert facts["quantiles"] == "0.1,0.5,0.9"
        assert facts["frequency"] == "1mo"
    assert (await service.client.get("/v2/models/unknown/config")).status_code == 404


async def test_requests_and_answers_are_what_their_schemas_say(service: Service):
    inputs = [tensor("sequences", YEARS), lengths(24, 15)]
    outputs = [{"name": "attention", "parameters": {"binary_data": True}}, {"name": "predictions"}]
    InferRequest.model_validate({"inputs": inputs, "outputs": outputs, "id": "a"})
    answer = await infer(service, *inputs, model=ATTENTION, outputs=outputs)
    InferResponse.model_validate(read(answer)[0])
    document = (await service.client.get("/openapi.json")).json()
    body = document["paths"]["/v2/models/{name}/infer"]["post"]["requestBody"]["content"]
    assert list(body) == ["application/json", "application/octet-stream"]
    assert {"InferRequest", "InferResponse", "InputTensor"} <= set(
        document["components"]["schemas"]
    )


@pytest.mark.parametrize("shift", range(4))
def test_rows_are_views_of_the_body_unless_their_address_would_be_crooked(shift):
    content, headers = binary(tensor("sequences", WINDOWS), id="x" * shift)
    size = int(headers[HEADER])
    rows = InferQuery(content, size, card(max_length=30), 3).rows
    for row, window in zip(rows, WINDOWS, strict=True):
        assert row.sequence.flags.aligned
        assert row.sequence.flags.c_contiguous
        assert row.sequence.dtype == np.float32
        assert (row.sequence == window.astype(np.float32)).all()
    shares = np.shares_memory(rows[0].sequence, np.frombuffer(content, np.uint8))
    assert shares == (size % 4 == 0)
