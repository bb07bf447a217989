"""``seqserve keys``: make, list and revoke keys; a running service follows within a second."""

import time
from datetime import timedelta
from pathlib import Path

import click
from pydantic import ValidationError

from models.document import faults
from service.commands.environment import read_settings
from service.keys import document
from service.keys.document import Key, Keys, Scope
from service.keys.errors import UnusableKeys, UnusableUsage
from service.keys.limits import Quota
from service.keys.secrets import digest, issue
from service.keys.usage import Usage

_file = click.option(
    "--keys",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="SEQSERVE_KEYS",
    required=True,
    help="The file of keys.  [SEQSERVE_KEYS]",
)
_scope = click.Choice([scope.value for scope in Scope])


@click.group()
def keys() -> None:
    """Make, list and revoke the keys that a service asks for."""


@keys.command()
@click.argument("name")
@_file
@click.option("--scope", "scopes", multiple=True, required=True, type=_scope)
@click.option("--tenant", help="Whose sessions it opens; others' it never does.")
@click.option("--any-tenant", is_flag=True, help="Let each request name its tenant.")
@click.option("--rate", help="Requests a time: 100/s, 600/min or 1000/h.")
@click.option(
    "--burst", type=click.IntRange(1), help="Requests at once; the rate's count if absent."
)
@click.option("--quota", help="Requests in an hour or a day by UTC: 1000/h or 1000000/day.")
@click.option(
    "--days", type=click.IntRange(1, 36_500), help="Days until it expires; never if absent."
)
def add(name: str, path: Path, scopes: tuple[str, ...], days: int | None, **limits: object) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    issued, created = issue(), document.now()
    described = limits | {
        "id": issued.id,
        "name": name,
        "sha256": digest(issued.text.encode()).hex(),
        "scopes": tuple(Scope(scope) for scope in dict.fromkeys(scopes)),
        "created": created,
        "expires": created + timedelta(days=days) if days else None,
    }

    def with_it(keys: Keys) -> Keys:
        if any(key.name == name for key in keys.keys):
            raise click.ClickException(f"There is a key {name!r} in {path} already.")
        return Keys(keys=(*keys.keys, Key.model_validate(described)))

    _change(path, with_it)
    click.echo(issued.text)


@keys.command("list")
@_file
def list_keys(path: Path) -> None:
    """List the keys, what each may, and what it has used; no secret is kept to be shown."""
    try:
        found = document.read(path).keys
        usage = Usage.open(read_settings().usage)
        for key in found:
            click.echo(f"{key.name}  {', '.join(key.scopes)}{_more(key, usage)}")
    except (UnusableKeys, UnusableUsage) as exc:
        raise click.ClickException(str(exc)) from exc
    usage.close()


@keys.command()
@click.argument("name")
@_file
def revoke(name: str, path: Path) -> None:
    """Revoke a key; what it has open is closed within a second."""

    def without(keys: Keys) -> Keys:
        kept = tuple(key for key in keys.keys if key.name != name)
        if len(kept) == len(keys.keys):
            raise click.ClickException(f"There is no key {name!r} in {path}.")
        return Keys(keys=kept)

    _change(path, without)


def _change(path: Path, new: document.Change) -> None:
    try:
        document.change(path, new)
    except ValidationError as exc:
        fault = faults(exc)[0]
        raise click.UsageError(f"{fault.place or 'the key'}: {fault.words}") from exc
    except UnusableKeys as exc:
        raise click.ClickException(str(exc)) from exc


def _more(key: Key, usage: Usage) -> str:
    told = f"  tenant {key.tenant}" if key.tenant else "  any tenant" if key.any_tenant else ""
    if key.rate:
        told += f"  {key.rate}" + (f", {key.burst} at once" if key.burst else "")
    if key.quota:
        used = usage.used(key.id)
        running = used.period == Quota.parse(key.quota).period(time.time())
        told += f"  {used.requests if running else 0} of {key.quota}"
    if key.expires:
        over = "expired" if key.expired(document.now()) else "expires"
        told += f"  {over} {key.expires:%Y-%m-%d}"
    return told
