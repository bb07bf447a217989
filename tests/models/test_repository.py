"""The repository holds whole files only, at every instant, whatever its publishers do."""

import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.repository import ABANDONED, Entry, ModelNotInRepository, Repository

ROOT = Path(__file__).parents[2]


@pytest.fixture
def repository(tmp_path) -> Repository:
    return Repository(tmp_path / "models")


def writer(content: bytes):
    return lambda path: path.write_bytes(content)


def everything(repository: Repository) -> set[str]:
    """Name all that lies in the repository's folder, hidden files too."""
    return {str(path.relative_to(repository.root)) for path in repository.root.rglob("*")}


def numbers(repository: Repository, name="small") -> list[int]:
    return [entry.version for entry in repository.versions(name)]


class WriteFailed(Exception):
    """What the tests' own writers raise."""


def test_a_folder_that_does_not_exist_holds_no_models(repository):
    assert repository.names() == []
    assert repository.versions("small") == []
    with pytest.raises(ModelNotInRepository, match="There is no model 'small'"):
        repository.find("small")


def test_a_published_file_is_whole_readable_and_first(repository):
    entry = repository.publish("small", writer(b"weights"))
    assert entry == Entry("small", 1, repository.root / "small" / "1.onnx")
    assert entry.path.read_bytes() == b"weights"
    assert entry.path.stat().st_mode & 0o777 == 0o644
    assert everything(repository) == {"small", "small/1.onnx"}


def test_each_publication_gets_the_next_number(repository):
    published = [repository.publish("small", writer(b"%d" % number)) for number in range(12)]
    assert [entry.version for entry in published] == list(range(1, 13))
    assert repository.versions("small") == published
    assert repository.find("small") == published[-1]  # 12 is newer than 9
    assert repository.find("small", 2) == published[1]


def test_a_gap_in_the_numbers_is_never_filled(repository):
    for number in range(3):
        repository.publish("small", writer(b"%d" % number))
    repository.find("small", 1).path.unlink()
    assert repository.publish("small", writer(b"new")).version == 4


def test_models_are_listed_in_order_and_apart(repository):
    for name in ("wind", "load", "load"):
        repository.publish(name, writer(b""))
    assert repository.names() == ["load", "wind"]
    assert numbers(repository, "load") == [1, 2]


def test_what_is_missing_is_named(repository):
    repository.publish("small", writer(b""))
    with pytest.raises(ModelNotInRepository, match="'small' in version 2") as caught:
        repository.find("small", 2)
    assert (caught.value.name, caught.value.version) == ("small", 2)


@pytest.mark.parametrize("error", [WriteFailed, KeyboardInterrupt, SystemExit])
def test_whatever_write_raises_leaves_nothing(repository, error):
    def write(path):
        path.write_bytes(b"half of it")
        raise error

    with pytest.raises(error):
        repository.publish("small", write)
    assert repository.names() == []
    assert not [path for path in repository.root.rglob("*") if path.is_file()]


def test_whatever_write_raises_leaves_the_published_alone(repository):
    def write(path):
        path.write_bytes(b"half of it")
        raise WriteFailed

    repository.publish("small", writer(b"whole"))
    before = everything(repository)
    with pytest.raises(WriteFailed):
        repository.publish("small", write)
    assert everything(repository) == before
    assert repository.find("small").path.read_bytes() == b"whole"


def test_a_writer_that_leaves_no_file_publishes_none(repository):
    with pytest.raises(FileNotFoundError):
        repository.publish("small", Path.unlink)
    assert repository.names() == []


def test_a_file_that_is_being_written_is_not_there_yet(repository):
    seen = []

    def write(path):
        path.write_bytes(b"half of it")
        seen.append(repository.names())
        path.write_bytes(b"all of it")

    repository.publish("small", write)
    assert seen == [[]]


def test_a_file_is_on_the_disk_before_it_has_its_name(repository, monkeypatch):
    synced, fsync = [], os.fsync

    def record(handle):
        is_file = os.path.isfile(f"/proc/self/fd/{handle}")  # noqa: PTH113  a handle has no Path
        synced.append(("file" if is_file else "folder", numbers(repository)))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    repository.publish("small", writer(b"weights"))
    assert synced == [("folder", []), ("file", []), ("folder", [1])]


def test_a_publisher_overtaken_while_writing_takes_the_next_number(repository):
    def write(path):
        repository.publish("small", writer(b"fast"))
        path.write_bytes(b"slow")

    assert repository.publish("small", write).version == 2
    assert [entry.path.read_bytes() for entry in repository.versions("small")] == [b"fast", b"slow"]


def test_a_publisher_overtaken_while_looking_takes_the_next_number(repository):
    class Stale(Repository):
        """Is overtaken between looking for a free number and taking it."""

        def versions(self, name):
            found = super().versions(name)
            if not found:
                repository.publish(name, writer(b"fast"))
            return found

    entry = Stale(repository.root).publish("small", writer(b"slow"))
    assert entry.version == 2
    assert repository.find("small", 1).path.read_bytes() == b"fast"


def test_publishers_at_the_same_time_never_overwrite_each_other(repository):
    publishers, rounds = 4, 15
    together = threading.Barrier(publishers, timeout=20)

    def publish(publisher):
        def write(path):
            path.write_bytes(content)
            together.wait()  # all are done writing, and all want the same number

        taken = {}
        for number in range(rounds):
            content = b"%d of %d" % (number, publisher)
            taken[repository.publish("small", write).version] = content
        return taken

    with ThreadPoolExecutor(publishers) as threads:
        results = list(threads.map(publish, range(publishers)))
    expected = {version: content for taken in results for version, content in taken.items()}
    assert numbers(repository) == list(range(1, publishers * rounds + 1))
    found = {entry.version: entry.path.read_bytes() for entry in repository.versions("small")}
    assert found == expected


JUNK = [
    "0.onnx",
    "01.onnx",
    "-1.onnx",
    "1.5.onnx",
    "latest.onnx",
    "1.onnx.tmp",
    "1.ONNX",
    "2.onnx.bak",
    ".3.onnx",
    "\u0663.onnx",
    "1234567890.onnx",
    ".publishing-abc.tmp",
    "README.md",
]


def test_junk_is_no_version(repository):
    repository.publish("small", writer(b""))
    for name in JUNK:
        (repository.root / "small" / name).write_bytes(b"junk")
    (repository.root / "small" / "7.onnx").mkdir()
    assert numbers(repository) == [1]


def test_junk_is_no_model(repository):
    repository.publish("small", writer(b""))
    for name in ("Upper", ".hidden", "with space", "x" * 65, "lost+found"):
        folder = repository.root / name
        folder.mkdir()
        (folder / "1.onnx").write_bytes(b"junk")
    (repository.root / "empty").mkdir()
    (repository.root / "file").write_bytes(b"junk")
    assert repository.names() == ["small"]


def test_a_symbolic_link_is_listed_so_that_who_reads_can_say_why_it_does_not(repository, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"not yours")
    repository.publish("small", writer(b"mine"))
    folder = repository.root / "small"
    (folder / "2.onnx").symlink_to(secret)
    (folder / "3.onnx").symlink_to(folder / "1.onnx")
    (folder / "4.onnx").symlink_to("nowhere")
    assert numbers(repository) == [1, 2, 3, 4]
    assert repository.find("small", 1).path.read_bytes() == b"mine"
    assert repository.publish("small", writer(b"next")).version == 5
    assert secret.read_bytes() == b"not yours"


HOSTILE = ["", ".", "..", "../outside", "a/b", "/etc", "Upper", "a b", "a\0b", "x" * 65, "\u00e9"]


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_hostile_name_finds_nothing_and_publishes_nothing(repository, name):
    repository.root.mkdir()
    (repository.root / "1.onnx").write_bytes(b"")
    (repository.root.parent / "1.onnx").write_bytes(b"")
    before = everything(repository)
    assert repository.versions(name) == []
    with pytest.raises(ModelNotInRepository):
        repository.find(name)
    with pytest.raises(ValueError, match="is not a model name"):
        repository.publish(name, writer(b"bad"))
    assert everything(repository) == before


def test_a_line_break_ends_no_name_and_no_version(repository):
    repository.publish("small", writer(b""))
    (repository.root / "small" / "2.onnx\n").write_bytes(b"junk")
    assert numbers(repository) == [1]
    with pytest.raises(ValueError, match="is not a model name"):
        repository.publish("small\n", writer(b""))


@pytest.mark.parametrize("junk", ["folder", "link"])
def test_junk_under_the_next_number_does_not_stop_a_publisher(repository, tmp_path, junk):
    class Patient(Repository):
        """Looks for a free number a hundred times, and not for ever."""

        looks = 0

        def versions(self, name):
            self.looks += 1
            if self.looks > 100:
                pytest.fail("The publisher turns for ever.")
            return super().versions(name)

    repository.publish("small", writer(b"old"))
    taken = repository.root / "small" / "2.onnx"
    if junk == "folder":
        taken.mkdir()
    else:
        taken.symlink_to(tmp_path / "nowhere")
    assert Patient(repository.root).publish("small", writer(b"new")).version > 2


def test_what_a_killed_publisher_left_is_removed_by_the_next(repository):
    repository.publish("small", writer(b"whole"))
    folder = repository.root / "small"
    old = time.time() - ABANDONED - 1
    for name in ("old", "young", "held"):
        draft = folder / f".publishing-{name}.tmp"
        draft.write_bytes(b"half of it")
        if name != "young":
            os.utime(draft, (old, old))
    (folder / ".publishing-link.tmp").symlink_to("1.onnx")
    os.utime(folder / ".publishing-link.tmp", (old, old), follow_symlinks=False)
    with (folder / ".publishing-held.tmp").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        repository.publish("small", writer(b"next"))
    left = {path.name for path in folder.glob(".publishing-*")}
    assert left == {".publishing-young.tmp", ".publishing-held.tmp", ".publishing-link.tmp"}
    assert numbers(repository) == [1, 2]


def test_a_publisher_who_takes_long_keeps_its_draft(repository):
    def write(path):
        path.write_bytes(b"slow")
        old = time.time() - ABANDONED - 1
        os.utime(path, (old, old))
        repository.publish("small", writer(b"fast"))
        assert path.read_bytes() == b"slow"

    assert repository.publish("small", write).version == 2


def python(program: str, *arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


STOP_HALFWAY = """
import sys, time
from models.repository import Repository
def write(path):
    with path.open("wb") as file:
        file.write(b"half of it")
        file.flush()
        print("half", flush=True)
        time.sleep(600)
Repository(sys.argv[1]).publish("small", write)
"""

PUBLISH_FOR_EVER = """
import hashlib, os, sys
from models.repository import Repository
def write(path):
    content = os.urandom(200_000)
    with path.open("wb") as file:
        file.write(hashlib.sha256(content).digest())
        for start in range(0, len(content), 1000):
            file.write(content[start : start + 1000])
            file.flush()
while True:
    print(Repository(sys.argv[1]).publish("small", write).version, flush=True)
"""


def test_a_publisher_killed_while_writing_leaves_what_was_there(repository):
    repository.publish("small", writer(b"whole"))
    with python(STOP_HALFWAY, repository.root) as child:
        assert child.stdout.readline() == "half\n"
        child.kill()
    assert numbers(repository) == [1]
    assert repository.find("small").path.read_bytes() == b"whole"
    assert repository.publish("small", writer(b"next")).version == 2


def test_a_publisher_killed_at_any_moment_leaves_whole_files_only(repository):
    published = 0
    for lines in (1, 2, 5):
        with python(PUBLISH_FOR_EVER, repository.root) as child:
            for _ in range(lines):
                published = int(child.stdout.readline())
            child.kill()
        assert len(numbers(repository)) >= published  # what was announced is there
        for entry in repository.versions("small"):
            content = entry.path.read_bytes()
            assert len(content) == 200_032
            assert hashlib.sha256(content[32:]).digest() == content[:32]
