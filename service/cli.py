"""The console command: serve and list models here; training's commands are found by name."""

import asyncio
import errno
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from models.contract import ContractError
from models.repository import ModelNotInRepository, Repository
from service import descriptors
from service.commands.accuracy import describe, summary
from service.commands.environment import read_settings
from service.commands.keys import keys
from service.commands.versions import versions
from service.http.meters.metrics import MULTIPROCESS
from service.keys.errors import UnusableKeys, UnusableUsage
from service.port import Place, bind, is_public
from service.sessions.errors import UnusableStore
from service.settings import Settings
from service.supervisor import supervise

EXTRA_COMMANDS = "seqserve.commands"  # the entry-point group
NO_KEYS = (
    "Others reach {host}, and there are no keys to ask them for.  Make one with 'seqserve keys add "
    "NAME --keys FILE --scope predict' and set SEQSERVE_KEYS=FILE; or listen on 127.0.0.1; or, to "
    "let strangers in, say --no-keys-on-public-address (SEQSERVE_NO_KEYS_ON_PUBLIC_ADDRESS=true)."
)
_Command = TypeVar("_Command", bound=Callable[..., Any])


class Commands(click.Group):
    """Our own commands, and those of the extras that are installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        extra = entry_points(group=EXTRA_COMMANDS).names
        return sorted({*super().list_commands(ctx), *extra})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            return command
        for entry in entry_points(group=EXTRA_COMMANDS, name=cmd_name):
            try:
                loaded: click.Command = entry.load()
            except ModuleNotFoundError as exc:
                return _missing(cmd_name, exc.name or "a package")
            return loaded
        return None


def _setting(name: str, **options: object) -> Callable[[_Command], _Command]:
    """Return an option that is a setting, and wins over the environment."""

    def keep(_: click.Context, parameter: click.Parameter, value: object) -> None:
        if value is not None:
            os.environ[f"SEQSERVE_{parameter.name}".upper()] = str(value)

    return click.option(name, expose_value=False, callback=keep, **cast(dict[str, Any], options))


@click.group(cls=Commands)
@click.version_option(package_name="seqserve")
def main() -> None:
    """Train sequence models, serve them over HTTP."""


@main.command()
@_setting("--models", type=click.Path(path_type=Path), help="Repository to serve.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@_setting("--workers", type=click.IntRange(1), help="Processes that share the port.")
@_setting("--provider", type=click.Choice(["auto", "cpu", "cuda"]))
@_setting("--keys", type=click.Path(path_type=Path), help="File of the keys to ask for.")
@_setting(
    "--no-keys-on-public-address",
    is_flag=True,
    default=None,
    help="Let strangers in: listen without keys where others reach it.",
)
def serve(host: str, port: int) -> None:
    """Serve the newest version of every model of a repository."""
    settings = read_settings()
    if not settings.models.is_dir():
        raise click.UsageError(f"There is no folder {settings.models} to serve models from.")
    if settings.provider == "cuda":
        _insist_on_cuda()
    _check_store(settings)
    _check_keys(settings, host)
    descriptors.raise_limit()
    with ExitStack() as stack:
        if settings.workers > 1:
            folder = tempfile.TemporaryDirectory(prefix="seqserve-metrics-")
            os.environ[MULTIPROCESS] = stack.enter_context(folder)
        places = _bind(host, port, settings.workers)
        raise click.exceptions.Exit(supervise(settings, places))


@main.command("models")
@click.option("--models", "folder", type=click.Path(path_type=Path), help="Repository to read.")
def list_models(folder: Path | None) -> None:
    """List the models of a repository with their measured accuracy."""
    from service.engine.errors import ModelRejected  # noqa: PLC0415  what listing alone needs
    from service.engine.vetting.audit import card_of  # noqa: PLC0415
    from service.engine.vetting.file import read  # noqa: PLC0415
    from service.engine.vetting.messages import parse  # noqa: PLC0415

    settings = read_settings()
    repository = Repository(folder or settings.models)
    names = repository.names()
    if not names:
        click.echo(f"There are no models in {repository.root}.")
    for name in names:
        entry = repository.find(name)
        try:
            card = card_of(parse(read(entry.path, settings.max_model_bytes)))
        except (ModelRejected, ContractError) as exc:
            click.echo(f"{name}  version {entry.version}  unreadable: {exc}")
            continue
        click.echo(f"{name}  version {entry.version}  {summary(card)}")
        for line in describe(card):
            click.echo(f"    {line}")


main.add_command(keys)
main.add_command(versions)


@main.command()
@click.argument("target", metavar="FILE|NAME")
@click.option("--models", "folder", type=click.Path(path_type=Path), help="Repository to read.")
@click.option("--version", type=click.IntRange(1), help="The newest if absent.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def check(target: str, folder: Path | None, version: int | None, *, as_json: bool) -> None:
    """Check a model file as the service does before it serves; end with 1 if it is refused."""
    from service.commands.verdicts import describe as describe_report  # noqa: PLC0415
    from service.engine.vetting.verdict import ModelRefused, vet  # noqa: PLC0415  loads the runtime

    settings = read_settings()
    path, name = Path(target), None
    if not (path.suffix == ".onnx" or len(path.parts) > 1 or path.is_file()):
        try:
            entry = Repository(folder or settings.models).find(target, version)
        except ModelNotInRepository as exc:
            raise click.ClickException(str(exc)) from exc
        path, name = entry.path, entry.name
    options = settings.engine_options()
    try:
        report = vet(path, name, options.limits, options.cache, anew=True).report
    except ModelRefused as exc:
        report = exc.report
    if as_json:
        click.echo(json.dumps(report.document()))
    else:
        first, *others = describe_report(report)
        click.echo("\n    ".join([f"{path}  {first}", *others]))
    if not report.passed:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("name")
@click.option("--models", "folder", type=click.Path(path_type=Path), help="Repository to read.")
@click.option("--version", type=click.IntRange(1), help="The newest if absent.")
@click.option("--seconds", default=2.0, show_default=True, help="Time to measure.")
def profile(name: str, folder: Path | None, version: int | None, seconds: float) -> None:
    """Measure what a model's batches cost here, with one thread a run and with several."""
    from service.engine.errors import ModelRejected  # noqa: PLC0415  loads the runtime
    from service.engine.profile import report  # noqa: PLC0415
    from service.engine.vetting.verdict import vet  # noqa: PLC0415

    settings = read_settings()
    options = settings.engine_options()
    try:
        entry = Repository(folder or settings.models).find(name, version)
        vetted = vet(entry.path, name, options.limits, options.cache)
        click.echo(f"{name} version {entry.version}, {report(vetted.content, seconds)}")
    except (ModelNotInRepository, ModelRejected) as exc:
        raise click.ClickException(str(exc)) from exc


def _bind(host: str, port: int, workers: int) -> list[Place]:
    try:
        return bind(host, port, workers)
    except UnicodeError as exc:
        raise click.ClickException(f"{host}: no name of a host") from exc
    except OSError as exc:
        advice = "; choose another port with --port" if exc.errno == errno.EADDRINUSE else ""
        raise click.ClickException(f"{host}:{port}: {exc.strerror}{advice}") from exc


def _check_store(settings: Settings) -> None:
    """End with one line if the workers would end with a traceback each."""
    try:
        store = settings.open_store()
    except UnusableStore as exc:
        raise click.UsageError(f"SEQSERVE_STORE: {exc}") from exc
    if store is not None:
        asyncio.run(store.close())


def _check_keys(settings: Settings, host: str) -> None:
    """End with one line if the keys cannot be used, or if there are none and strangers come."""
    try:
        keyring = settings.open_keyring()
    except UnusableKeys as exc:
        raise click.UsageError(f"SEQSERVE_KEYS: {exc}") from exc
    except UnusableUsage as exc:
        raise click.UsageError(f"SEQSERVE_USAGE: {exc}") from exc
    if keyring is None and not settings.no_keys_on_public_address and is_public(host):
        raise click.UsageError(NO_KEYS.format(host=host))


def _insist_on_cuda() -> None:
    from service.engine.errors import ModelRejected  # noqa: PLC0415  loads the runtime
    from service.engine.runner import choose_device  # noqa: PLC0415

    try:
        choose_device("cuda")
    except ModelRejected as exc:
        raise click.ClickException(str(exc)) from exc


def _missing(name: str, package: str) -> click.Command:
    def explain() -> None:
        raise click.ClickException(
            f"'{name}' needs {package}, which is not installed: pip install 'seqserve[train]'"
        )

    # Whatever options follow belong to the command that is missing.
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, callback=explain, context_settings=settings)


if __name__ == "__main__":
    main()
