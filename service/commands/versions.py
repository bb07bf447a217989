"""Commands that say which versions shall serve; services that watch the repository follow."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from models.repository import ModelNotInRepository, Repository
from models.serving import Serving, ServingError
from service.commands.environment import read_settings

_Command = TypeVar("_Command", bound=Callable[..., Any])
_VERSION = click.IntRange(1)
_NUMBER = re.compile("[0-9]{1,9}")


def _of_model(command: _Command) -> _Command:
    """Add what every command takes: a model, and the repository it is in."""
    folder = click.Path(path_type=Path)
    option = click.option("--models", "folder", type=folder, help="Repository to change.")
    return click.argument("name")(option(command))


@click.group()
def versions() -> None:
    """Say which versions of a model shall serve; services follow within a second or two."""


@versions.command()
@_of_model
def show(name: str, folder: Path | None) -> None:
    """Print the state that a model shall be in."""
    _change(name, folder, lambda state: state)


@versions.command()
@_of_model
@click.argument("version", type=_VERSION, required=False)
def load(name: str, folder: Path | None, version: int | None) -> None:
    """Let a version answer, or the model as it did before it was unloaded."""
    published = [entry.version for entry in _repository(folder).versions(name)]
    _change(name, folder, lambda state: state.with_loaded(version, published))


@versions.command()
@_of_model
@click.argument("version", type=_VERSION, required=False)
def unload(name: str, folder: Path | None, version: int | None) -> None:
    """Let a version, or the whole model, answer nobody."""
    _change(name, folder, lambda state: state.with_unloaded(version))


@versions.command("alias")
@_of_model
@click.argument("alias")
@click.argument("version", type=_VERSION, required=False)
def set_alias(name: str, folder: Path | None, alias: str, version: int | None) -> None:
    """Let an alias stand for a version; without one it is forgotten."""
    _change(name, folder, lambda state: state.with_alias(alias, version))


@versions.command()
@_of_model
@click.argument("shares", nargs=-1)
def split(name: str, folder: Path | None, shares: tuple[str, ...]) -> None:
    """Divide the traffic: stable=95 canary=5, or 3 for all of it; nothing: the newest has it."""
    parts = (share.partition("=") for share in shares)
    weights = {target: weight or "1" for target, _, weight in parts}
    _change(name, folder, lambda state: state.with_(traffic=weights or None))


@versions.command()
@_of_model
@click.argument("version", required=False)
@click.option("--share", default=1.0, show_default=True, help="Of the requests.")
def shadow(name: str, folder: Path | None, version: str | None, share: float) -> None:
    """Ask a version too, unseen; without one nobody is."""
    number = int(version) if version and _NUMBER.fullmatch(version) else version
    asked = {"version": number, "share": share} if version else None
    _change(name, folder, lambda state: state.with_(shadow=asked))


def _repository(folder: Path | None) -> Repository:
    settings = read_settings()
    return Repository(folder or settings.models, settings.states)


def _change(name: str, folder: Path | None, change: Callable[[Serving], Serving]) -> None:
    """Keep another state and print it; end with one line where that cannot be."""
    repository = _repository(folder)
    try:
        repository.find(name)
        for version in change(repository.states.read(name)).uses():
            repository.find(name, version)
        kept = repository.states.change(name, change)
    except (ModelNotInRepository, ServingError) as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(kept.model_dump_json(indent=2))
