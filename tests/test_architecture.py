"""The arrows of the house, and what must not creep in."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from models.repository import Repository
from service.settings import ZOO

ROOT = Path(__file__).parent.parent
SOURCES = [
    path
    for folder in ("models", "service", "training", "benchmarks", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def test_every_import_points_down():
    """The contracts are in pyproject.toml; ``make test`` prints them one by one."""
    command = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [command], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 0, result.stdout


def test_one_module_of_the_service_knows_onnx_runtime():
    imports = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
    knowing = [
        path for path in (ROOT / "service").rglob("*.py") if imports.search(path.read_text())
    ]
    assert [path.name for path in knowing] == ["runner.py"]


def test_nothing_that_serves_fetches_from_an_address():
    clients = re.compile(
        r"^\s*(import|from) (urllib\.request|http\.client|httpx|requests|aiohttp|fsspec)\b",
        re.MULTILINE,
    )
    fetching = [
        path.name
        for folder in ("models", "service")
        for path in (ROOT / folder).rglob("*.py")
        if clients.search(path.read_text())
    ]
    assert fetching == []


def test_serving_loads_no_training_and_no_torch():
    code = (
        "import sys; import service.http.app, service.cli;"
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('torch', 'training', 'onnx', 'polars', 'pandas', 'scipy')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_what_it_is_and_stays_readable(path):
    text = path.read_text()
    assert text.startswith('"""')
    assert text.count("\n") <= 300
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)


def test_the_zoo_is_small_beats_seasonal_naive_and_says_what_loses_to_ridge():
    from service.engine.runner import Device, OnnxRunner  # noqa: PLC0415  loads the runtime

    repository = Repository(ZOO)
    recipes = (ROOT / "training/recipes").glob("*.toml")
    assert repository.names() == sorted(path.stem for path in recipes)
    lose = set()
    for name in repository.names():
        entry = repository.find(name)
        assert entry.path.stat().st_size < 300_000
        card = OnnxRunner(entry.path, Device("cpu", "a test")).card
        assert card.provenance.fingerprint
        (found,) = card.accuracy.targets.values()
        assert found.mae < found.baselines["seasonal_naive"].mae
        behind = found.mae > found.baselines["ridge"].mae
        assert card.accuracy.loses_to == (("ridge",) if behind else ())
        lose |= {name} if behind else set()
    (told,) = re.findall(r"^LOSE_TO_RIDGE := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert lose == set(told.split())
