"""Nothing that serves unpickles: not our source, not what it runs on, not a service at work."""

import ast
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for top in ("service", "models") for path in (ROOT / top).rglob("*.py"))

# Modules that make objects, or run code, out of bytes; multiprocessing pickles what it sends.
MODULES = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal",
    "multiprocessing", "shelve", "torch", "yaml",
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__", "load_pickle", "read_pickle", "unpickle"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_our_source_knows_nothing_that_unpickles(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.split(".")[0] for name in names} & MODULES
        elif isinstance(node, ast.keyword):
            assert node.arg != "allow_pickle"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in CALLS
            assert called.rsplit(".", 1)[-1] not in CALLS - {"compile"}  # re.compile
            assert called not in ("np.load", "numpy.load")


def test_what_serving_is_installed_with_brings_none_of_it():
    """The base dependencies and all that they need, extras left out."""
    waiting, found = ["seqserve"], set()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for text in requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    assert "onnxruntime-gpu" in found
    assert not {name.lower() for name in found} & (MODULES | {"pyyaml", "onnx", "scikit-learn"})


SERVE = """
import asyncio, sys
unpickled = []
def hook(event, args):
    if event == "pickle.find_class":
        unpickled.append(args)
sys.addaudithook(hook)
from models.repository import Repository
from service.cli import main
from service.engine.core import Engine, EngineOptions
from service.engine.jobs import Row
from service.http.app import create_app
from service.settings import ZOO
import numpy as np

async def serve():
    async with Engine(Repository(ZOO), EngineOptions(provider="cpu", threads=2)) as engine:
        for name in engine.names():
            model = await engine.model(name)
            row = Row(np.ones((model.card.max_length, len(model.card.features)), np.float32))
            assert len((await engine.predict(model, [row]))[0]) == 1

asyncio.run(serve())
print(unpickled)
import pickle
pickle.loads(pickle.dumps(ZOO))
print(len(unpickled) > 0)
"""


def test_no_object_is_unpickled_while_models_load_and_answer():
    said = subprocess.run(
        [sys.executable, "-c", SERVE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["[]", "True"]  # and the hook would have seen one
