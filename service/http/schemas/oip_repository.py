"""The repository extension's documents: what is asked for, and every version with its state."""

from typing import Annotated, Literal

from pydantic import Field

from service.engine.core import Engine
from service.http.schemas.wire import Out, WireModel

Number = Annotated[int, Field(ge=1, le=999_999_999)]


class IndexRequest(WireModel):
    """Which versions to list."""

    ready: bool = False  # those alone that would answer now


class LoadParameters(WireModel):
    """What to load of a model; its file is its configuration, and none is taken from a caller."""

    version: Number | None = Field(
        None, description="not Triton's: one version, in the place of what answered before"
    )


class LoadRequest(WireModel):
    """Let a model, or one version of it, answer."""

    parameters: LoadParameters = LoadParameters()


class UnloadParameters(LoadParameters):
    """What to unload of a model."""

    unload_dependents: bool = Field(default=False, description="no model here has any")


class UnloadRequest(WireModel):
    """Let a model, or one version of it, answer nobody."""

    parameters: UnloadParameters = UnloadParameters()


class IndexEntry(Out):
    """One version in the repository."""

    name: str
    version: str
    state: Literal["READY", "LOADING", "UNAVAILABLE"]
    reason: str


def index(engine: Engine, *, ready: bool) -> list[IndexEntry]:
    """List every version of every model, by name, the oldest first."""
    found = [entry for name in engine.names() for entry in versions(engine, name)]
    return [entry for entry in found if not ready or entry.state == "READY"]


def versions(engine: Engine, name: str) -> list[IndexEntry]:
    """List the versions of a model, the oldest first."""
    return [
        IndexEntry(name=each.name, version=str(each.version), state=each.state, reason=each.reason)
        for each in engine.index(name)
    ]
