"""Only what is simply a file is read, and no more of it than is allowed."""

import os
import signal

import pytest

from models.repository import Repository
from service.engine.errors import ModelRejected
from service.engine.vetting import file
from service.engine.vetting.file import read


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"not yours")
    return folder


def refuse(path, said, limit=100):
    with pytest.raises(ModelRejected, match=said) as refused:
        read(path, limit)
    assert str(path.parent) not in str(refused.value)


def test_a_file_is_read(folder):
    (folder / "1.onnx").write_bytes(b"weights")
    assert read(folder / "1.onnx", 7) == b"weights"


def test_a_symbolic_link_is_refused(folder):
    (folder / "1.onnx").symlink_to("../../secret")
    refuse(folder / "1.onnx", "The file is a symbolic link")


def test_a_folder_that_is_a_link_is_refused(folder):
    (folder / "1.onnx").write_bytes(b"weights")
    link = folder.parent / "linked"
    link.symlink_to(folder)
    refuse(link / "1.onnx", "folder is a symbolic link")


def test_a_hard_link_is_refused_on_both_ends(folder):
    (folder / "1.onnx").hardlink_to(folder.parents[1] / "secret")
    refuse(folder / "1.onnx", "1 more name on the disk")
    (folder / "2.onnx").hardlink_to(folder / "1.onnx")
    refuse(folder / "2.onnx", "2 more names on the disk")


def test_the_models_that_come_with_the_package_may_be_links_for_uv_installs_so(folder, monkeypatch):
    (folder / "1.onnx").hardlink_to(folder.parents[1] / "secret")
    monkeypatch.setattr(file, "INSTALLED", folder.parent)
    assert read(folder / "1.onnx", 100) == b"not yours"
    (folder / "2.onnx").symlink_to("1.onnx")
    refuse(folder / "2.onnx", "The file is a symbolic link")
    deeper = folder / "models" / "small"
    deeper.mkdir(parents=True)
    (deeper / "1.onnx").hardlink_to(folder.parents[1] / "secret")
    refuse(deeper / "1.onnx", "2 more names on the disk")


def test_the_draft_of_a_publisher_who_was_killed_is_no_hard_link(folder):
    (folder / ".publishing-x.tmp").write_bytes(b"weights")
    (folder / "1.onnx").hardlink_to(folder / ".publishing-x.tmp")
    assert read(folder / "1.onnx", 100) == b"weights"
    (folder.parent / "elsewhere").hardlink_to(folder / "1.onnx")
    refuse(folder / "1.onnx", "1 more name on the disk")


def test_a_version_can_be_read_at_every_moment_of_its_publication(folder, monkeypatch):
    seen, unlink = [], os.unlink

    def look(*args, **kwargs):  # between the file's name and the end of its draft
        seen.append(read(folder / "1.onnx", 100))
        unlink(*args, **kwargs)

    monkeypatch.setattr(os, "unlink", look)
    Repository(folder.parent).publish("small", lambda path: path.write_bytes(b"weights"))
    assert seen == [b"weights"]


def test_a_file_beyond_the_limit_is_refused(folder):
    (folder / "1.onnx").write_bytes(b"weights")
    refuse(folder / "1.onnx", "has 7 bytes, more than 6", limit=6)


def test_a_file_that_grows_is_not_read_for_ever(folder, monkeypatch):
    path, fstat = folder / "1.onnx", os.fstat
    path.write_bytes(b"weights")

    def grow(handle):
        found = fstat(handle)
        path.write_bytes(b"w" * 10_000)
        return found

    monkeypatch.setattr(os, "fstat", grow)
    refuse(path, "grew beyond 100 bytes")


def test_what_is_no_file_is_refused_at_once(folder):
    (folder / "1.onnx").mkdir()
    os.mkfifo(folder / "2.onnx")
    signal.alarm(10)  # a pipe that nobody writes to
    refuse(folder / "1.onnx", "no regular file")
    refuse(folder / "2.onnx", "no regular file")
    refuse(folder / "3.onnx", "cannot be read: No such file")
    signal.alarm(0)
