"""Killed wherever it may be, a publisher leaves whole versions only; and the drill would see."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

IN_PLACE = """
import sys
from pathlib import Path
from benchmarks import publications
from models.repository import Entry, Repository

def publish(self, name, write):
    folder = self.root / name
    folder.mkdir(parents=True, exist_ok=True)
    versions = self.versions(name)
    path = folder / f"{versions[-1].version + 1 if versions else 1}.onnx"
    write(path)
    return Entry(name, int(path.stem), path)

Repository.publish = publish
publications.main(["--kills", "8"])
"""


def drill(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_publisher_killed_at_any_call_leaves_whole_versions_that_pass_their_checks():
    ended = drill("-m", "benchmarks.publications", "--kills", "40")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 faults" in ended.stdout


def test_a_publisher_who_writes_in_place_is_found_out():
    ended = drill("-c", IN_PLACE)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "is not whole" in ended.stdout
