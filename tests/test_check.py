"""``seqserve check`` says of a file what the service would, and the list of models runs none."""

import json

import pytest
from click.testing import CliRunner

from models.repository import Repository
from service.cli import main
from tests.engine.graphs import Graph


@pytest.fixture
def folder(tmp_path):
    repository = Repository(tmp_path / "models")
    repository.publish("small", Graph().write)
    repository.publish("small", Graph(leak=0.5).write)
    (repository.root / "small" / "3.onnx").symlink_to("1.onnx")
    return repository.root


def said(*arguments, code=0) -> str:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result.output


def test_a_sound_file_is_told_what_it_takes(folder):
    told = said("check", folder / "small" / "1.onnx")
    assert "passed in" in told
    assert "answered in batches as alone, bit for bit" in told


def test_a_version_that_does_not_pass_ends_the_command_with_its_reason(folder):
    told = said("check", "small", "--models", folder, "--version", 2, code=1)
    assert "refused in" in told
    assert "differ from the same sequence alone" in told
    assert "The file is a symbolic link." in said("check", "small", "--models", folder, code=1)


def test_the_report_can_be_read_by_a_program(folder):
    options = "--models", folder, "--version", 2, "--json"
    report = json.loads(said("check", "small", *options, code=1))
    assert len(report["findings"]) == 1
    assert report["size"] == (folder / "small" / "2.onnx").stat().st_size


def test_what_is_not_there_is_no_traceback(folder):
    assert "There is no model 'other'" in said("check", "other", "--models", folder, code=1)
    assert "No such file" in said("check", folder / "9.onnx", code=1)


def test_a_list_names_what_it_cannot_read(folder):
    told = said("models", "--models", folder)
    assert "small  version 3  unreadable: The file is a symbolic link." in told
