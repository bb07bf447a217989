"""What a path names: a model, and one of its versions by number or alias."""

import re
from typing import Annotated

from fastapi import Path

from models.serving import ALIAS_PATTERN
from service.engine.core import Engine, LoadedModel
from service.engine.errors import ModelNotFound

_NUMBER = re.compile("[1-9][0-9]{0,8}", re.ASCII)
_ALIAS = re.compile(ALIAS_PATTERN, re.ASCII)

Name = Annotated[str, Path(description="a model's name, as GET /v1/models lists it")]
Version = Annotated[str, Path(description="a version's number, or an alias such as stable")]


async def named_version(engine: Engine, name: str, version: str) -> LoadedModel:
    """Return the version a path names, by number or alias; raise what ``Engine.model`` does."""
    if _ALIAS.fullmatch(version):
        return await engine.model(name, version)
    if not _NUMBER.fullmatch(version):
        raise ModelNotFound(name, f"{version:.20}")
    return await engine.model(name, int(version))
