"""The public ``tritonclient[http]``, unchanged, against a service in its own process."""

import shutil
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from examples.serving import Served, serving
from service.settings import ZOO
from tests.http.inprocess import ATTENTION, GRU, weeks
from tests.keys.made import Keys

WINDOWS = np.array([[[value] for value in weeks(30, start)] for start in (330, 350, 310)], "f4")
YEARS = np.array([[[20 + step % 12 + row] for step in range(24)] for row in range(2)], "f4")


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("triton") / "service.log"
    with serving(log, "--provider", "cpu") as service:
        yield service


@pytest.fixture
def client(served) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address(served), concurrency=4) as client:
        yield client


def address(served: Served) -> str:
    return served.url.removeprefix("http://")


def sequences(values, *, binary=True) -> triton.InferInput:
    found = triton.InferInput("sequences", values.shape, "FP32")
    found.set_data_from_numpy(values, binary_data=binary)
    return found


def expected(served: Served, values, model=GRU) -> np.ndarray:
    """Return what the native API says, (sequence, horizon, target, quantile)."""
    body = {"sequences": values.tolist()}
    answer = httpx.post(f"{served.url}/v1/models/{model}/predict", json=body).json()
    levels = [list(one["quantiles"].values()) for one in answer["predictions"]]
    return np.array(levels, np.float32).transpose(0, 2, 1)[:, :, np.newaxis]


def test_health_metadata_and_configuration(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(GRU)
    assert client.is_model_ready(GRU, "1")
    assert not client.is_model_ready("unknown")
    server = client.get_server_metadata()
    assert server["name"] == "seqserve"
    assert server["in_force"]["provider"] == "cpu"
    assert server["in_force"]["threads"] >= 1
    assert server["in_force"]["limits"]["max_sequences"] == 1_024
    for version in ("", "1"):
        found = client.get_model_metadata(ATTENTION, version)
        assert [output["name"] for output in found["outputs"]] == [
            "predictions",
            "mean",
            "attention",
        ]
        assert client.get_model_config(ATTENTION, version)["backend"] == "onnxruntime"


def test_the_index_lists_every_version(client):
    found = {
        (entry["name"], entry["version"]): entry for entry in client.get_model_repository_index()
    }
    assert found[GRU, "1"] == {"name": GRU, "version": "1", "state": "READY", "reason": ""}
    assert len(found) == 4


@pytest.mark.parametrize("incoming", [True, False])
@pytest.mark.parametrize("outgoing", [True, False, None])
def test_json_and_binary_have_the_native_bits(served, client, incoming, outgoing):
    outputs = None
    if outgoing is not None:
        outputs = [triton.InferRequestedOutput("predictions", binary_data=outgoing)]
    inputs = [sequences(WINDOWS, binary=incoming)]
    result = client.infer(GRU, inputs, outputs=outputs, request_id="a-7", model_version="1")
    found = result.as_numpy("predictions")
    assert found.dtype == np.float32
    assert found.tobytes() == expected(served, WINDOWS).tobytes()
    said = result.get_response()
    assert (said["id"], said["model_name"], said["model_version"]) == ("a-7", GRU, "1")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_requests_and_answers_have_the_same_bits(served, client, coding):
    for binary in (True, False):
        outputs = [triton.InferRequestedOutput("predictions", binary_data=binary)]
        result = client.infer(
            GRU,
            [sequences(WINDOWS)],
            outputs=outputs,
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )
        found = result.as_numpy("predictions")
        assert found.tobytes() == expected(served, WINDOWS).tobytes()


def test_lengths_and_requested_outputs(client):
    steps = triton.InferInput("lengths", [2], "INT64")
    steps.set_data_from_numpy(np.array([24, 15]))
    outputs = [
        triton.InferRequestedOutput("attention", binary_data=False),
        triton.InferRequestedOutput("mean"),
    ]
    result = client.infer(ATTENTION, [sequences(YEARS), steps], outputs=outputs)
    assert result.as_numpy("predictions") is None
    assert result.as_numpy("mean").shape == (2, 6, 1)
    weights = result.as_numpy("attention")
    assert weights.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert (weights[1, 15:] == 0).all()


def test_many_at_once_get_their_own_answers(served, client):
    asked = [
        client.async_infer(GRU, [sequences(WINDOWS[place % 3 : place % 3 + 1])])
        for place in range(12)
    ]
    wanted = expected(served, WINDOWS)
    for place, each in enumerate(asked):
        found = each.get_result().as_numpy("predictions")
        assert found.tobytes() == wanted[place % 3].tobytes()


def test_models_are_loaded_and_unloaded_by_who_has_the_key(tmp_path):
    keys = Keys(tmp_path)
    admin, reader = (
        {"Authorization": f"Bearer {keys.add(scope, scopes=scope)}"}
        for scope in ("admin", "predict")
    )
    shutil.copytree(ZOO / GRU, tmp_path / "models" / GRU)
    environment = {"SEQSERVE_MODELS": str(tmp_path / "models")} | keys.environment
    with (
        serving(tmp_path / "log", "--provider", "cpu", environment=environment) as service,
        triton.InferenceServerClient(address(service)) as client,
    ):

        def ask():
            return client.infer(GRU, [sequences(WINDOWS)], headers=reader).as_numpy("predictions")

        def states():
            index = client.get_model_repository_index(headers=admin)
            return [entry["state"] for entry in index]

        assert client.is_server_ready()
        before = ask()
        client.unload_model(GRU, unload_dependents=True, headers=admin)
        assert not client.is_model_ready(GRU, headers=reader)
        assert states() == ["UNAVAILABLE"]
        with pytest.raises(InferenceServerException, match="unloaded"):
            ask()
        client.load_model(GRU, headers=admin)
        assert client.is_model_ready(GRU, headers=reader)
        assert states() == ["READY"]
        assert ask().tobytes() == before.tobytes()
        for status, wrong in (
            ("404", lambda: client.load_model("unknown", headers=admin)),
            ("422", lambda: client.load_model(GRU, config="{}", headers=admin)),
            ("403", lambda: client.unload_model(GRU, headers=reader)),
            ("401", lambda: client.infer(GRU, [sequences(WINDOWS)])),
        ):
            with pytest.raises(InferenceServerException, match=r".") as raised:
                wrong()
            assert raised.value.status() == status
        assert states() == ["READY"]


def test_statistics_count_what_was_answered(client):
    def count(*asked):
        (found,) = client.get_inference_statistics(*asked)["model_stats"]
        return found["inference_count"]

    before = count(GRU)
    client.infer(GRU, [sequences(WINDOWS)])
    assert count(GRU) == count(GRU, "1") == before + 3
    listed = [each["name"] for each in client.get_inference_statistics()["model_stats"]]
    assert sorted(listed) == sorted(path.name for path in ZOO.iterdir())


def test_errors_are_exceptions_with_our_words(client):
    good = sequences(WINDOWS)
    wrong = triton.InferInput("sequences", WINDOWS.shape, "FP64")
    wrong.set_data_from_numpy(WINDOWS.astype("f8"))
    for status, says, ask in (
        (404, "There is no model 'unknown'.", lambda: client.infer("unknown", [good])),
        (404, "in version 7", lambda: client.infer(GRU, [good], model_version="7")),
        (404, "There is no model", lambda: client.get_model_metadata("unknown")),
        (422, "expected 26 to 104 steps", lambda: client.infer(GRU, [sequences(WINDOWS[:, :9])])),
        (422, "inputs[0].datatype: expected FP32", lambda: client.infer(GRU, [wrong])),
        (422, "same priority", lambda: client.infer(GRU, [good], priority=1)),
        (422, "sessions opens one", lambda: client.infer(GRU, [good], sequence_id=7)),
        (422, "parameters.mine", lambda: client.infer(GRU, [good], parameters={"mine": 1})),
        (503, "No answer within 0.001 ms", lambda: client.infer(GRU, [good], timeout=1)),
        (404, "No route leads", client.get_system_shared_memory_status),
    ):
        with pytest.raises(InferenceServerException, match=r".") as raised:
            ask()
        assert raised.value.status() == str(status)
        assert says in raised.value.message()
    assert client.infer(GRU, [good], timeout=60_000_000).as_numpy("predictions").shape[0] == 3


async def test_the_asyncio_client_works_as_well(served):
    async with triton_aio.InferenceServerClient(address(served)) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(GRU)
        assert len(await client.get_model_repository_index()) == 4
        outputs = [triton_aio.InferRequestedOutput("predictions", binary_data=False)]
        for asked, coding in ((None, None), (outputs, None), (outputs, "gzip"), (None, "deflate")):
            result = await client.infer(
                GRU,
                [sequences(WINDOWS)],
                outputs=asked,
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
            found = result.as_numpy("predictions")
            assert found.tobytes() == expected(served, WINDOWS).tobytes()
        with pytest.raises(InferenceServerException, match="There is no model 'unknown'"):
            await client.infer("unknown", [sequences(WINDOWS)])
