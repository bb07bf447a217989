"""The dashboard and the alerts ask for what the service tells, and the compose file shows them."""

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.sessions.location import open_store
from service.sessions.store import Limits
from service.settings import ZOO
from tests.http.inprocess import GRU, SMALL, STREAM, Service, running, weeks

ROOT = Path(__file__).parent.parent
OBSERVE = ROOT / "observe"
DASHBOARD = json.loads((OBSERVE / "grafana/dashboards/seqserve.json").read_text())
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())

SCRAPED = {"instance", "job"}  # labels that Prometheus adds
WORDS = {"and", "or", "unless", "on", "ignoring", "group_left", "group_right", "bool", "offset"}


def expressions() -> dict[str, str]:
    rules = yaml.safe_load((OBSERVE / "alerts.yml").read_text())["groups"]
    found = {rule["alert"]: rule["expr"] for group in rules for rule in group["rules"]}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        found[variable["name"]] = re.fullmatch(r"label_values\((.*),.*\)", variable["definition"])[
            1
        ]
    return found


def asked(expression: str) -> tuple[set[str], set[str]]:
    """Return the metrics and the labels of an expression."""
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    for group in re.findall(r"\b(?:by|without|ignoring|on)\s*\(([^)]*)\)", expression):
        labels |= set(re.findall(r"\w+", group))
    rest = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"", " ", expression)
    rest = re.sub(r"\b(?:by|without|ignoring|on)\s*\([^)]*\)", " ", rest)
    names = set(re.findall(r"\b[a-z_:][a-z0-9_:]*\b(?!\s*\()", rest))
    return names - WORDS, labels


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, set[str]]:
    """Return every series that a service tells after a little of everything, with its labels."""
    text = asyncio.run(metrics(tmp_path_factory.mktemp("observe")))
    found: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def metrics(folder: Path) -> str:
    store = open_store(f"sqlite:///{folder}/s.db", limits=Limits(), durability="process")
    models = folder / "models"
    for name in (GRU, STREAM):
        (models / name).mkdir(parents=True)
        for version in (1, 2):
            shutil.copyfile(ZOO / name / "1.onnx", models / name / f"{version}.onnx")
    settings = SMALL.model_copy(update={"models": models})
    async with running(settings, store=store) as service:
        for name in (GRU, STREAM):
            shadow = {"traffic": {"1": 1}, "shadow": {"version": 2}}
            await service.engine.changes.make(
                name, lambda state, shadow=shadow: state.with_(**shadow)
            )
        await service.predict({"sequences": [weeks(30)]})
        await service.predict({"sequences": [[1]]})
        path = f"/v1/models/{STREAM}/sessions"
        opened = await service.client.post(path, json={"values": weeks(40)})
        step = f"/v1/sessions/{opened.json()['session']}/steps/1"
        await service.client.post(step, json={"values": [341.0]})
        service.engine.failures = lambda name: {2: "a test"} if name == GRU else {}
        late = "model_failed{", "shadow_largest_difference{", "shadow_live_steps_total{"
        text = ""
        async with asyncio.timeout(10):
            while not all(name in text for name in late):
                await asyncio.sleep(0.1)
                text = await told_by(service)
        return text


async def told_by(service: Service) -> str:
    return (await service.client.get("/metrics")).text


@pytest.mark.parametrize("where", expressions())
def test_every_metric_and_label_that_is_asked_for_is_told(where, told):
    names, labels = asked(expressions()[where])
    assert names
    assert names <= told.keys()
    assert labels <= SCRAPED.union(*(told[name] for name in names))


def test_every_metric_that_is_told_is_in_the_documentation(told):
    text = (ROOT / "docs/observability.md").read_text()
    documented = set(re.findall(r"`((?:seqserve|process)_\w+)`", text))
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in told}
    assert families - {"up"} == documented


def test_the_panels_of_the_dashboard_lie_side_by_side_and_each_has_its_own_id():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert {y for _, y in cells} == set(range(max(y for _, y in cells) + 1))


def test_the_parser_of_this_test_finds_a_metric_that_is_not_there():
    names, labels = asked('sum by (le, x) (rate(no_such_total{a=~"b"}[5m])) > 0.5 and other')
    assert names == {"no_such_total", "other"}
    assert labels == {"le", "x", "a"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_the_alerts_fire_when_they_should():
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        ended = subprocess.run(
            ["promtool", *command],  # noqa: S607  Prometheus's own
            cwd=OBSERVE,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_is_tested():
    rules = yaml.safe_load((OBSERVE / "alerts.yml").read_text())["groups"]
    tests = yaml.safe_load((OBSERVE / "alerts_test.yml").read_text())["tests"]
    fired = {
        case["alertname"]
        for each in tests
        for case in each["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert fired == {rule["alert"] for group in rules for rule in group["rules"]}


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_what_observes_is_in_its_profile_pinned_local_and_without_rights(name):
    service = COMPOSE["services"][name]
    assert service["profiles"] == ["observe"]
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_all_files_that_are_mounted_are_there_and_nobody_is_an_administrator():
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).exists(), volume
                assert volume.endswith(":ro")
    grafana = COMPOSE["services"]["grafana"]["environment"]
    assert grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert grafana["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert grafana["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert not DASHBOARD["editable"]
    (provider,) = yaml.safe_load(
        (OBSERVE / "grafana/provisioning/dashboards/seqserve.yml").read_text()
    )["providers"]
    mounted = COMPOSE["services"]["grafana"]["volumes"]
    assert f"./observe/grafana/dashboards:{provider['options']['path']}:ro" in mounted
    (source,) = yaml.safe_load(
        (OBSERVE / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]
    used = {
        target["datasource"]["uid"]
        for each in DASHBOARD["panels"]
        for target in each.get("targets", [])
    }
    assert used == {source["uid"]}


def test_prometheus_scrapes_the_service_with_the_key_of_the_compose_file():
    config = yaml.safe_load((OBSERVE / "prometheus.yml").read_text())
    (scrape,) = config["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["seqserve:8000"]}]
    (secret,) = COMPOSE["services"]["prometheus"]["secrets"]
    assert scrape["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert config["rule_files"] == ["alerts.yml"]
