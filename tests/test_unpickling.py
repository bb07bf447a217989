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
import asyncio, pickle, shutil, sys, tempfile
unpickled = []
def hook(event, args):
    if event == "pickle.find_class":
        unpickled.append(args)
sys.addaudithook(hook)
from pathlib import Path
import polars as pl, pyarrow as pa
from service.sessions.location import open_store
from service.sessions.store import Limits
from service.settings import ZOO
from tests.http.inprocess import GRU, SMALL, STREAM, running, weeks
from tests.http.tables import ARROW, long

def claiming(frame):  # a column of a type of Python's, which Arrow once made by unpickling
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    name, kind = b"ARROW:extension:name", b"ARROW:extension:metadata"
    said = {name: b"arrow.py_extension_type", kind: pickle.dumps(ZOO)}
    schema = pa.schema([field.with_metadata(said) for field in table.schema])
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, schema) as writer:
        writer.write_table(pa.table(list(table.columns), schema=schema))
    return out.getvalue().to_pybytes()

async def serve(folder):
    store = open_store(f"sqlite:///{folder}/s.db", limits=Limits(), durability="process")
    for name in (GRU, STREAM):
        shutil.copytree(ZOO / name, f"{folder}/models/{name}")
    settings = SMALL.model_copy(update={"models": Path(folder, "models")})
    async with running(settings, store=store) as service:
        ask = service.client.post
        said = [await service.predict({"sequences": [weeks(60)]}, name) for name in (GRU, STREAM)]
        path = f"/v1/models/{GRU}/predict"
        said.append(await ask(path, content=claiming(long({"a": weeks(60)})), headers=ARROW))
        opened = await ask(f"/v1/models/{STREAM}/sessions", json={"values": weeks(60)})
        step = f"/v1/sessions/{opened.json()['session']}/steps/1"
        said += [opened, await ask(step, json={"values": [341.0]})]
        bad = await ask(path, content=pickle.dumps(ZOO), headers=ARROW)
        assert bad.status_code == 400, bad.text
    assert all(each.is_success for each in said), [each.text for each in said]

with tempfile.TemporaryDirectory() as folder:
    asyncio.run(serve(folder))
print(unpickled)
pickle.loads(pickle.dumps(ZOO))
print(len(unpickled) > 0)
"""


def test_no_object_is_unpickled_while_models_load_and_answer():
    said = subprocess.run(
        [sys.executable, "-c", SERVE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-2:] == ["[]", "True"]  # and the hook would have seen one
