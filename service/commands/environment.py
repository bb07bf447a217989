"""The settings as every command reads them: what is wrong with one ends it with one line."""

import os
from difflib import get_close_matches

import click
from pydantic import ValidationError

from service.settings import Settings

_ALMOST = 0.85  # likeness of a setting's name to one that is misspelt, of 1


def read_settings() -> Settings:
    """Return the settings of the environment; raise UsageError for a wrong or misspelt one."""
    _refuse_slips()
    try:
        return Settings()
    except ValidationError as exc:
        problems = (
            f"SEQSERVE_{str(problem['loc'][0]).upper()}: {problem['msg']}"
            for problem in exc.errors(include_url=False)
        )
        raise click.UsageError("\n".join(problems)) from exc


def _refuse_slips() -> None:
    """Refuse what is almost a setting: a limit that is misspelt would be none."""
    names = set(Settings.model_fields)
    for given in os.environ:  # others begin so, too: Kubernetes tells where a service is
        name = given.lower().removeprefix("seqserve_")
        if name == given.lower() or name in names:
            continue
        if name == "host" or (name == "port" and os.environ[given].isdecimal()):
            raise click.UsageError(f"{given} is no setting; say --{name}.")
        for meant in get_close_matches(name, names, n=1, cutoff=_ALMOST):
            raise click.UsageError(f"{given} is no setting; SEQSERVE_{meant.upper()} is.")
