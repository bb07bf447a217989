"""Classification end to end: a labelled table is trained on, served, and asked over HTTP."""

import http.client
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import pytest_asyncio
import tritonclient.http as triton
from click.testing import CliRunner, Result

from examples.serving import serving
from models.contract import ModelCard
from service.cli import main
from service.sessions.sqlite import SqliteStore
from tests.http.inprocess import SMALL, Service, running
from tests.http.tables import ARROW, stream
from tests.http.tensors import binary, lengths, read, tensor
from tests.labelled import CLASSES, recipe, waves, write

MODEL = "waves-gru"
ATTENDING = "waves-attention"
NEW = waves(30, seed=9)  # of which no part was seen


class Trained(NamedTuple):
    models: Path
    said: Result


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    """Train a GRU by a recipe, and by options, for one epoch, a network that attends."""
    folder = tmp_path_factory.mktemp("run")
    data = write(folder / "waves.csv", waves(150))
    names = ["--id", "place", "--label", "kind", "--feature", "level", "--feature", "other"]
    plan = ["--data", str(data), *names, "--network", "attention"]
    plan += ["--epochs", "1", "--anyway"]
    folders = [f"--{name}={folder / name}" for name in ("models", "checkpoints")]
    runs = [
        CliRunner().invoke(main, ["train", *each, "--quiet", *folders])
        for each in ([str(recipe(folder, data))], plan)
    ]
    assert [run.exit_code for run in runs] == [0, 0], [run.output for run in runs]
    said = runs[0]
    return Trained(folder / "models", said)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting(trained) -> AsyncIterator[Service]:
    async with running(SMALL.model_copy(update={"models": trained.models})) as service:
        yield service


@pytest.fixture(scope="module")
def service(lasting: Service) -> Service:
    return lasting


def asked(series=NEW, **more) -> dict:
    return {
        "sequences": [{"id": name, "values": values.tolist()} for name, _, values in series]
    } | more


async def predictions(service: Service, body, model=MODEL) -> list[dict]:
    answer = await service.predict(body, model)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == model
    return answer.json()["predictions"]


async def test_it_names_the_class_of_series_it_never_saw(service: Service):
    found = await predictions(service, asked())
    right = [answer["label"] == kind for answer, (_, kind, _) in zip(found, NEW, strict=True)]
    assert np.mean(right) >= 0.9
    for answer, (name, _, _) in zip(found, NEW, strict=True):
        chances = answer["probabilities"]
        assert list(answer) == ["id", "label", "probabilities"]
        assert answer["id"] == name
        assert tuple(chances) == CLASSES
        assert sum(chances.values()) == pytest.approx(1, abs=1e-6)
        assert answer["label"] == max(chances, key=chances.get)


async def test_a_mix_of_lengths_is_answered_as_each_alone(service: Service):
    together = await predictions(service, asked())
    assert len({len(values) for _, _, values in NEW}) > 10
    for answer, one in zip(together, NEW, strict=True):
        assert await predictions(service, asked([one])) == [answer]


async def test_the_card_tells_how_good_it_is_and_how_sure_it_may_be(service: Service):
    card = ModelCard.model_validate((await service.client.get(f"/v1/models/{MODEL}/card")).json())
    found = card.accuracy
    assert card.classes == CLASSES
    assert (card.min_length, card.max_length, card.exact) == (16, 48, True)
    assert found.series == sum(map(sum, found.confusion)) == 30
    assert found.accuracy == sum(found.confusion[n][n] for n in range(3)) / 30 >= 0.9
    assert found.majority_accuracy == pytest.approx(1 / 3)
    assert 0 <= found.calibration_error < 0.2
    assert found.temperature != 1
    assert card.provenance.split == {"train": 96, "validation": 24, "test": 30}
    assert json.loads(card.provenance.recipe)["data"]["source"] == "waves.csv"
    detail = (await service.client.get(f"/v1/models/{MODEL}")).json()
    assert detail["loaded"][0]["self_check"]["bit_for_bit"]


async def test_tensors_have_the_bits_of_json(service: Service):
    metadata = (await service.client.get(f"/v2/models/{MODEL}")).json()
    assert metadata["outputs"] == [{"name": "predictions", "datatype": "FP32", "shape": [-1, 3]}]
    longest = max(len(values) for _, _, values in NEW)
    padded = np.full((len(NEW), longest, 2), 7e5, "f4")
    for place, (_, _, values) in zip(padded, NEW, strict=True):
        place[: len(values)] = values
    content, headers = binary(
        tensor("sequences", padded), lengths(*(len(values) for _, _, values in NEW))
    )
    path = f"/v2/models/{MODEL}/infer"
    _, found = read(await service.client.post(path, content=content, headers=headers))
    said = await predictions(service, asked())
    wanted = np.array([list(each["probabilities"].values()) for each in said], "f4")
    assert np.array_equal(found["predictions"], wanted)


async def test_the_likeliest_classes_are_an_output_where_they_are_asked_for(service: Service):
    _, _, values = NEW[0]
    inputs = [tensor("sequences", [values])]
    path = f"/v2/models/{MODEL}/infer"
    (said,) = await predictions(service, asked(NEW[:1]))
    chances = sorted(said["probabilities"].items(), key=lambda each: -each[1])[:2]
    wanted = [f"{np.float32(chance)}:{CLASSES.index(name)}:{name}" for name, chance in chances]
    for sent in (False, True):
        parameters = {"classification": 2, "binary_data": sent}
        outputs = [{"name": "predictions", "parameters": parameters}]
        answer = await service.client.post(path, json={"inputs": inputs, "outputs": outputs})
        header = int(answer.headers.get("inference-header-content-length", len(answer.content)))
        (output,) = json.loads(answer.content[:header])["outputs"]
        assert (output["datatype"], output["shape"]) == ("BYTES", [1, 2])
        if sent:
            texts = b"".join(len(text).to_bytes(4, "little") + text.encode() for text in wanted)
            assert answer.content[header:] == texts
        else:
            assert output["data"] == wanted
    for wrong in (0, 4, 1.5, True):
        outputs = [{"name": "predictions", "parameters": {"classification": wrong}}]
        answer = await service.client.post(path, json={"inputs": inputs, "outputs": outputs})
        assert answer.status_code == 422
        assert "from 1 to 3" in answer.json()["detail"]


async def test_it_makes_no_forecasts_for_kserve_s_clients(service: Service):
    assert (await service.client.get("/v1/timeseries/models")).json() == []
    series = {"type": "univariate_time_series", "name": "a", "series": [1.0], "frequency": "day"}
    body = {"model": MODEL, "inputs": [series], "options": {"horizon": 1}}
    refused = await service.client.post("/v1/timeseries/forecast", json=body)
    assert refused.status_code == 422
    assert refused.json()["type"].endswith("not-a-forecaster")


async def test_attention_comes_with_a_label_where_it_is_asked_for(service: Service):
    for answer, (_, _, values) in zip(
        await predictions(service, asked(explain=["attention"]), ATTENDING), NEW, strict=True
    ):
        assert len(answer["attention"]) == len(values)
        assert sum(answer["attention"]) == pytest.approx(1, abs=1e-5)
    assert "attention" not in (await predictions(service, asked(), ATTENDING))[0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (asked(quantiles=[0.5]), "quantiles: this model classifies"),
        (asked(quantiles=[]), "quantiles: this model classifies"),
        (asked(explain=["attention"]), "explain: this model has no attention weights"),
        (
            {"sequences": [[[1, 2]] * 16, {"values": [[1, 2]] * 16, "start": "2026-01-01"}]},
            "sequences[1].start: this model classifies",
        ),
        (
            {"sequences": [{"values": [[1, 2]] * 16, "future": [[1]]}]},
            "sequences[0].future: this model knows no covariates ahead",
        ),
        ({"sequences": [[[1, 2]] * 49]}, "expected 16 to 48 steps, got 49"),
        ({"sequences": [[1] * 16]}, "expected 2 features a step (level, other), got 1"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_what_a_classifier_cannot_answer_is_refused_by_its_place(service, body, words):
    answer = await service.predict(body, MODEL)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


async def test_a_table_is_refused_with_the_way_that_works(service: Service):
    import polars as pl  # noqa: PLC0415  beside the one test that needs it

    table = pl.DataFrame({"unique_id": ["a"] * 16, "level": [1.0] * 16, "other": [2.0] * 16})
    path = f"/v1/models/{MODEL}/predict"
    answer = await service.client.post(path, content=stream(table), headers=ARROW)
    assert answer.status_code == 422
    assert "send JSON" in answer.json()["detail"]


@pytest.mark.parametrize("version", ["", "/versions/1"])
async def test_a_classifier_has_no_backtest_and_no_picture_of_one(service: Service, version):
    path = f"/v1/models/{MODEL}{version}/backtest"
    body = {"series": [[[1.0, 2.0]] * 60]}
    for answer in (
        await service.client.post(path, json=body),
        await service.client.get(f"{path}.svg"),
    ):
        assert answer.status_code == 422
        assert answer.json()["type"].endswith(":not-a-forecaster")
        assert "makes no forecasts" in answer.json()["detail"]


async def test_the_example_of_the_interface_works_when_pasted(service: Service):
    document = (await service.client.get("/openapi.json")).json()
    body = document["paths"]["/v1/models/{name}/predict"]["post"]["requestBody"]
    example = body["content"]["application/json"]["examples"][MODEL]["value"]
    assert len(await predictions(service, example)) == 2
    assert "ClassOut" in document["components"]["schemas"]
    backtest = document["paths"]["/v1/models/{name}/backtest"]["post"]["requestBody"]
    assert MODEL not in backtest["content"]["application/json"].get("examples", {})


def test_both_ways_give_one_answer(trained, tmp_path):
    answers = []
    for flag in ("true", "false"):
        environment = {"SEQSERVE_EXPRESS": flag, "SEQSERVE_PROFILE_MS": "0"}
        where = ("--provider", "cpu", "--models", str(trained.models))
        with serving(tmp_path / f"{flag}.log", *where, environment=environment) as served:
            connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=20)
            for body in (asked(), asked(quantiles=[0.5])):
                headers = {"Content-Type": "application/json", "X-Request-Id": "mine"}
                connection.request("POST", f"/v1/models/{MODEL}/predict", json.dumps(body), headers)
                answer = connection.getresponse()
                answers.append((answer.status, answer.read()))
            connection.close()
            answers.append(likeliest(served.url))
    assert answers[:3] == answers[3:]
    assert [status for status, _ in answers[:2]] == [200, 422]
    told = json.loads(answers[0][1])["predictions"][0]["probabilities"]
    best = max(told, key=told.get)
    assert answers[2] == [f"{np.float32(told[best])}:{CLASSES.index(best)}:{best}"] * 2


def likeliest(url: str) -> list[str]:
    """Ask for the first class of the first series as tritonclient does, in binary and in JSON."""
    values = np.array([NEW[0][2]], "f4")
    given = triton.InferInput("sequences", values.shape, "FP32")
    given.set_data_from_numpy(values)
    found = []
    with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        for binary_data in (True, False):
            wanted = triton.InferRequestedOutput("predictions", binary_data, class_count=1)
            said = client.infer(MODEL, [given], outputs=[wanted]).as_numpy("predictions")
            (text,) = said.flatten()
            found.append(text.decode() if isinstance(text, bytes) else text)
    return found


def test_the_command_says_how_good_it_is_beside_what_learns_nothing(trained):
    for words in ("150 series in 3 classes", "nearest series", "most frequent class 33.3%"):
        assert words in " ".join(trained.said.stdout.split())
    listed = CliRunner().invoke(main, ["models", "--models", str(trained.models)])
    assert listed.exit_code == 0
    assert f"{MODEL}  version 1  level, other  3 classes from 16..48 steps" in listed.stdout
    assert "; most frequent class 33.3%, nearest series " in listed.stdout
    assert "held out: 30 series" in listed.stdout
    assert "split: train 96, validation 24, test 30" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--label", "kind"], "With --label, give --data, --id, --feature too."),
        (
            ["--label", "kind", "--data", "x.csv", "--id", "i", "--feature", "x", "--horizon", "3"],
            "With --label, leave out --horizon.",
        ),
    ],
    ids=["too little", "too much"],
)
def test_options_that_do_not_go_together_are_named(arguments, words):
    result = CliRunner().invoke(main, ["train", *arguments])
    assert result.exit_code == 1
    assert words in result.stderr


async def test_a_session_of_a_classifier_says_what_the_whole_series_would(trained, tmp_path):
    settings = SMALL.model_copy(update={"models": trained.models})
    async with running(settings, SqliteStore(tmp_path / "sessions.db")) as service:
        values = NEW[0][2].tolist()
        opened = await service.client.post(f"/v1/models/{MODEL}/sessions", json={})
        session = opened.json()["session"]
        for number, part in enumerate((values[:10], values[10:]), start=1):
            path = f"/v1/sessions/{session}/steps/{number}"
            told = (await service.client.post(path, json={"values": part})).json()
        whole = await service.predict({"sequences": [values]}, MODEL)
        assert told["prediction"] == whole.json()["predictions"][0]
        looked = (await service.client.get(f"/v1/sessions/{session}")).json()
        assert looked["live_accuracy"] == {}
        body = {"start": "2026-01-01T00:00:00Z"}
        dated = await service.client.post(f"/v1/models/{MODEL}/sessions", json=body)
        assert dated.status_code == 422
        body = {"values": values, "quantiles": [0.5]}
        levels = await service.client.post(f"/v1/models/{MODEL}/sessions", json=body)
        assert levels.status_code == 422
