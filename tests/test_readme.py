"""What the README and the pages of docs/ say can be done is done here, with their own words."""

import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from examples.serving import free_port, serving
from models.repository import Repository
from service.settings import CACHE, ZOO, Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = {page.stem: page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))}
EVERYTHING = "\n".join([README, *DOCS.values()])
SEQSERVE = str(Path(sys.executable).with_name("seqserve"))


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def command(beginning: str) -> list[str]:
    """Return the words of the one command that begins so."""
    text = "\n".join(blocks("sh", EVERYTHING)).replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if line.startswith(beginning)]
    return [SEQSERVE, *shlex.split(line)[1:]]


@pytest.mark.timeout(400)
def test_make_demo_trains_serves_forecasts_draws_and_ends_by_itself():
    result = subprocess.run(
        ["make", "demo"],  # noqa: S607  the newcomer's make
        cwd=ROOT,
        env=os.environ | {"KEEP": "0", "EPOCHS": "3"},  # all of them, nightly
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    for name in ("co2-gru", "co2-lstm", "elnino-attention"):
        assert f"{name}: " in result.stdout
    assert result.stdout.count("from 104 steps") == 2
    assert re.search(r"Done in \d+ s", result.stdout)
    assert "Docs: " not in result.stdout  # nobody would be there
    picture = ROOT / "demo-output/forecasts.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_request_of_the_readme_gets_the_answer_of_the_readme(tmp_path):
    bodies = re.findall(r"-d '(\{.*?\})'\n", README, re.DOTALL)
    paths = re.findall(r"http://127.0.0.1:8000(/v1\S+) -H", README)
    assert [path.rpartition("/")[2] for path in paths] == [
        "predict",
        "backtest",
        "sessions",
        "forecast",
    ]
    with serving(tmp_path / "service.log", "--provider", "cpu") as service:
        answer, backtest, opened, forecast = (
            httpx.post(f"{service.url}{path}", json=json.loads(body))
            for path, body in zip(paths, bodies, strict=True)
        )
    assert answer.status_code == backtest.status_code == forecast.status_code == 200
    assert opened.status_code == 201
    assert (opened.json()["step"], opened.json()["count"]) == (0, 12)
    assert opened.json()["prediction"]["mean"] == answer.json()["predictions"][0]["mean"]
    (content,) = forecast.json()["outputs"][0]["content"]
    assert content["mean_forecast"] == answer.json()["predictions"][0]["mean"][:3]
    assert content["start_timestamp"] == "2011-01-01T00:00:00Z"
    assert backtest.json()["series"][0]["windows"] == 3
    (promised,) = (json.loads(block) for block in blocks("json"))
    found = answer.json()
    for one, other in zip(found["predictions"], promised["predictions"], strict=True):
        assert one.keys() == other.keys()
        assert one.get("timestamps") == other.get("timestamps")
        np.testing.assert_allclose(one["mean"], other["mean"], rtol=1e-4)
        np.testing.assert_allclose(one["attention"], other["attention"], atol=1e-4)
        for level, values in other["quantiles"].items():
            np.testing.assert_allclose(one["quantiles"][level], values, rtol=1e-4)


def test_the_table_of_the_readme_is_forecast(tmp_path, monkeypatch):
    weeks = np.datetime64("2020-01-05") + 7 * np.arange(130)
    rows = [
        f"{site},{week},{340 + 0.1 * number}" for site in "ba" for number, week in enumerate(weeks)
    ]
    (tmp_path / "history.csv").write_text("\n".join(["unique_id,ds,co2", *rows]))
    monkeypatch.chdir(tmp_path)
    client, *_ = blocks("python")
    named = {}
    with serving(tmp_path / "service.log", "--provider", "cpu") as service:
        exec(client.replace("http://127.0.0.1:8000", service.url), named)  # noqa: S102  ours
    forecasts = named["forecasts"]
    promised = re.search(r"forecasts = .*# (.*)", client)[1]
    assert forecasts.columns == promised.split(", ")
    assert forecasts["unique_id"].to_list() == ["a"] * 13 + ["b"] * 13
    assert forecasts["ds"].min().isoformat() == str(weeks[-1] + 7)


def test_the_triton_client_of_the_readme_gets_its_tensors(tmp_path):
    (client,) = [block for block in blocks("python") if "tritonclient" in block]
    named = {}
    with serving(tmp_path / "service.log", "--provider", "cpu") as service:
        address = service.url.removeprefix("http://")
        exec(client.replace("127.0.0.1:8000", address), named)  # noqa: S102  ours
        body = {"sequences": named["weeks"].tolist()}
        answer = httpx.post(f"{service.url}/v1/models/co2-gru/predict", json=body).json()
    assert named["predictions"].shape == (2, 13, 1, 3)
    levels = [list(one["quantiles"].values()) for one in answer["predictions"]]
    expected = np.array(levels, np.float32).transpose(0, 2, 1)[:, :, np.newaxis]
    assert named["predictions"].tobytes() == expected.tobytes()


def test_the_client_of_the_readme_survives_a_service_that_is_killed_again_and_again(tmp_path):
    _, client, _ = blocks("python")
    assert len([line for line in client.splitlines() if line]) <= 20
    named = {}
    exec(client, named)  # noqa: S102  ours
    values = [round(340 + number % 7 / 3, 2) for number in range(60)]
    environment = {"SEQSERVE_STORE": f"sqlite:///{tmp_path}/sessions.db"}
    log, port = tmp_path / "service.log", free_port()
    url = f"http://127.0.0.1:{port}"
    found: list[object] = []
    # A daemon: this client asks until it is answered, and must not outlive a test that fails.
    whole = Thread(target=lambda: found.extend(named["forecasts"](values, url=url)), daemon=True)
    whole.start()
    for turn in range(4):
        with serving(log, "--provider", "cpu", port=port, environment=environment) as service:
            # The last one stays until the client has all it wants.
            whole.join(timeout=60 if turn == 3 else 0.15)
            if turn < 3:
                os.kill(service.pid, signal.SIGKILL)
            else:
                answer = httpx.post(
                    f"{url}/v1/models/co2-gru/predict", json={"sequences": [values]}
                )
    assert len(found) == 60
    assert found[0] is None
    assert found[-1] == answer.json()["predictions"][0]


def test_the_training_command_of_the_readme_trains_on_a_table_like_its_own(tmp_path):
    rows = ["unique_id,ds,y,price,holiday"]
    days = np.datetime64("2024-01-01") + np.arange(300)
    for shop in ("north", "south"):
        for number, day in enumerate(days):
            weekend = int(number % 7 > 4)
            sales = 100 + 30 * weekend + 5 * math.sin(number)
            rows.append(f"{shop},{day},{sales:.1f},{2 + number % 3},{weekend}")
    (tmp_path / "sales.csv").write_text("\n".join(rows))
    train = [*command(".venv/bin/seqserve train --data sales.csv"), "--epochs", "1"]
    train += ["--anyway", "--quiet"]
    subprocess.run(train, cwd=tmp_path, check=True, timeout=110, capture_output=True)
    folder = command(".venv/bin/seqserve serve --models")[-1]
    log = tmp_path / "service.log"
    with serving(log, "--models", str(tmp_path / folder), "--provider", "cpu") as service:
        (model,) = httpx.get(f"{service.url}/v1/models").json()["models"]
        card = httpx.get(f"{service.url}/v1/models/{model['name']}/card").json()
        body = {"sequences": [{"values": [[100, 2, 0]] * 20, "future": [[1]] * 14}]}
        answer = httpx.post(f"{service.url}/v1/models/{model['name']}/predict", json=body)
    assert card["features"] == ["y", "price", "holiday"]
    assert len(answer.json()["predictions"][0]["mean"]) == 14


def test_the_classifier_of_the_readme_is_trained_by_its_command(tmp_path):
    rows = ["day,pm25,DEWP,PRES,Iws,season"]
    for number in range(24):
        season, level = ("summer", 20) if number % 2 else ("winter", -10)
        hours = range(20 + number % 5)
        rows += [f"d{number},{hour},{level + hour},1010,{number},{season}" for hour in hours]
    (tmp_path / "days.csv").write_text("\n".join(rows))
    train = command(".venv/bin/seqserve train --data days.csv")
    options = ["--epochs", "1", "--quiet", "--anyway"]
    subprocess.run([*train, *options], cwd=tmp_path, check=True, timeout=110)
    log = tmp_path / "service.log"
    with serving(log, "--models", str(tmp_path / train[-1]), "--provider", "cpu") as service:
        path = f"{service.url}/v1/models/days-gru/predict"
        answer = httpx.post(path, json={"sequences": [[[50, 15, 1005, 3]] * 24]})
    (found,) = answer.json()["predictions"]
    assert found["label"] in found["probabilities"]
    assert list(found["probabilities"]) == ["summer", "winter"]


def test_the_canary_of_the_readme_is_promoted_and_rolled_back(tmp_path):
    (block,) = (block for block in blocks("sh") if block.startswith("admin="))
    first, *lines = block.splitlines()
    calls = [shlex.split(line, comments=True) for line in lines]
    repository = Repository(tmp_path / "models")
    repository.publish("co2-gru", lambda path: shutil.copyfile(ZOO / "co2-gru/1.onnx", path))
    log, traffic = tmp_path / "service.log", []
    with serving(log, "--provider", "cpu", "--models", str(repository.root)) as service:
        url = first.removeprefix("admin=").replace("http://127.0.0.1:8000", service.url)
        for words in calls:
            if words[0] == "cp":
                assert words[2] == "models/zoo/co2-gru/2.onnx"
                shutil.copyfile(ZOO / "co2-gru/1.onnx", repository.root / "co2-gru/2.onnx")
                continue
            method = words[words.index("-X") + 1] if "-X" in words else "GET"
            (path,) = (word for word in words if word.startswith("$admin"))
            body = json.loads(words[-1]) if "--json" in words else None
            answer = httpx.request(method, path.replace("$admin", url), json=body, timeout=20)
            assert answer.status_code == 200, answer.text
            traffic.append(answer.json()["in_force"]["traffic"])
    divided = {"1": 0.95, "2": 0.05}
    assert traffic == [
        *[{"1": 1}] * 4,
        *[divided] * 2,
        {"2": 1},
        {"1": 1},
        {"2": 1},
    ]


def test_the_settings_table_is_the_settings():
    documented = {
        name: (default, meaning)
        for name, default, meaning in re.findall(
            r"^\| `SEQSERVE_(\w+)` \| (.*?) \| (.*?) \|$", DOCS["settings"], re.MULTILINE
        )
    }
    assert documented == {
        name.upper(): (_written(field.default), field.description)
        for name, field in Settings.model_fields.items()
    }


def _written(default: object) -> str:
    if default == ZOO:
        return "the zoo"
    if default == CACHE:
        return "~/.cache/seqserve"
    if default is None or default == SecretStr(""):
        return "unset"
    if isinstance(default, (str, Path)):
        return str(default).replace(str(Path.home()), "~")
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_the_figures_of_the_committed_models_are_those_of_their_cards():
    listed = subprocess.run(
        [SEQSERVE, "models", "--models", str(ZOO)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    row = r"^\| ((?:co2|elnino)-[\w-]+) \|.*\| (0\.\d\d) \| (\d\.\d\d) \| (\d\d) % \|$"
    rows = re.findall(row, DOCS["training"], re.MULTILINE)
    assert len(rows) == 4
    for name, naive, ridge, coverage in rows:
        told = (
            rf"{name} .*\n.* {naive} of seasonal naive's\n.* {coverage}% within .*\n *{ridge} of "
        )
        assert re.search(told, listed), name


def test_every_dependency_is_explained():
    import tomllib  # noqa: PLC0415

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"] + project["optional-dependencies"]["train"]:
        name = re.match(r"[\w-]+", requirement)[0]
        assert re.search(rf"\b{name}\b", DOCS["dependencies"]), name


def test_every_make_target_that_is_named_is_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?\bmake ([a-z-]+)[` ]", "\n".join(named_commands())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def named_commands() -> list[str]:
    """Return what is set as code, in lines and in blocks."""
    return [*blocks("sh", EVERYTHING), *re.findall(r"`make [^`]*`", EVERYTHING)]


def test_every_variable_that_pages_and_containers_name_is_a_setting():
    containers = [ROOT / "Dockerfile", *ROOT.glob("compose*.yaml")]
    assert len(containers) == 4 + 1
    text = "\n".join([EVERYTHING, *(path.read_text() for path in containers)])
    named = set(re.findall(r"\bSEQSERVE_([A-Z_]+[A-Z])\b", text))
    assert named >= {"KEYS", "STORE", "CACHE", "NO_KEYS_ON_PUBLIC_ADDRESS"}
    assert named <= {name.upper() for name in Settings.model_fields}
