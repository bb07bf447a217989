"""What ``seqserve versions`` makes of a model's state."""

import json

import pytest
from click.testing import CliRunner

from models.repository import Repository
from models.serving import Serving
from service.cli import main


@pytest.fixture
def repository(tmp_path):
    found = Repository(tmp_path)
    for _ in range(3):
        found.publish("small", lambda path: path.write_bytes(b"a model"))
    return found


def versions(repository, *words):
    command = [words[0], *words[1:], "--models", str(repository.root)]
    return CliRunner().invoke(main, ["versions", *command])


def test_each_command_changes_its_part_of_the_state(repository):
    for words in (
        ("alias", "small", "stable", "2"),
        ("alias", "small", "canary", "3"),
        ("split", "small", "stable=95", "canary=5"),
        ("shadow", "small", "canary", "--share", "0.2"),
        ("load", "small", "1"),
    ):
        result = versions(repository, *words)
        assert result.exit_code == 0, result.output
    kept = repository.states.read("small")
    assert Serving.model_validate_json(result.output) == kept
    assert kept == Serving(
        loaded=(1,),
        aliases={"stable": 2, "canary": 3},
        traffic={"stable": 95, "canary": 5},
        shadow={"version": "canary", "share": 0.2},
    )
    for words in (
        ("shadow", "small"),
        ("split", "small", "2"),
        ("alias", "small", "canary"),
        ("alias", "small", "stable"),
        ("unload", "small", "1"),
        ("unload", "small"),
    ):
        assert versions(repository, *words).exit_code == 0
    kept = repository.states.read("small")
    assert kept == Serving(offline=True, withdrawn=(1,), traffic={"2": 1})
    assert json.loads(versions(repository, "show", "small").output)["offline"] is True


def test_a_load_lets_a_model_answer_whose_versions_were_unloaded_one_by_one(repository):
    for version in (1, 2):
        versions(repository, "unload", "small", str(version))
    versions(repository, "load", "small")
    assert repository.states.read("small").withdrawn == (1, 2)  # version 3 answers
    versions(repository, "unload", "small", "3")
    versions(repository, "load", "small")
    assert repository.states.read("small") == Serving()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("alias", "small", "stable", "9"), "no model 'small' in version 9"),
        (("alias", "large", "stable", "1"), "no model 'large'"),
        (("alias", "small", "7", "1"), "aliases.7"),
        (("split", "small", "stable=1"), "no alias 'stable'"),
        (("split", "small", "3=none"), "traffic.3"),
        (("shadow", "small", "1", "--share", "2"), "shadow.share"),
    ],
)
def test_what_cannot_be_is_one_line_and_changes_nothing(repository, words, says):
    result = versions(repository, *words)
    assert result.exit_code == 1
    assert says in result.output
    assert result.output.count("\n") == 1
    assert not repository.states.path("small").exists()


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (
            "SEQSERVE_WORKERS",
            "many",
            "WORKERS: Input should be a valid integer, unable to parse string as an integer",
        ),
        ("SEQSERVE_SESSION_IDLE_S", "inf", "SESSION_IDLE_S: Input should be a finite number"),
        (
            "SEQSERVE_MAX_WAITING",
            "1023",
            "MAX_SEQUENCES: 1024 is more than SEQSERVE_MAX_WAITING, 1023: none such could wait",
        ),
        ("SEQSERVE_MAX_WAITING", "0", "MAX_WAITING: Input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_ends_a_command_with_one_line(
    repository, monkeypatch, name, value, problem
):
    monkeypatch.setenv(name, value)
    result = versions(repository, "show", "small")
    assert result.exit_code == 2
    assert result.output.endswith(f"Error: SEQSERVE_{problem}\n")
