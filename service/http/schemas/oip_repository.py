"""The repository extension's documents: what is asked for, and every version with its state."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from service.engine.core import Engine
from service.http.schemas.native import WireModel


class IndexRequest(WireModel):
    """Which versions to list."""

    ready: bool = False  # those alone that would answer now


class IndexEntry(BaseModel):
    """One version in the repository."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    state: Literal["READY", "LOADING", "UNAVAILABLE"]
    reason: str


def index(engine: Engine, *, ready: bool) -> list[IndexEntry]:
    """List every version of every model, by name, the oldest first."""
    entries = [
        _entry(engine, name, entry.version)
        for name in engine.names()
        for entry in engine.versions(name)
    ]
    return [entry for entry in entries if not ready or entry.state == "READY"]


def _entry(engine: Engine, name: str, version: int) -> IndexEntry:
    loaded = {model.entry.version: model for model in engine.loaded(name)}
    model = loaded.get(version)
    if model is not None and model.batcher.ready:
        return IndexEntry(name=name, version=str(version), state="READY", reason="")
    reason = "it accepts no more work" if model else "not in memory; it loads when it is asked"
    reason = engine.failures(name).get(version, reason)
    return IndexEntry(name=name, version=str(version), state="UNAVAILABLE", reason=reason)


def body_of(wire: type[BaseModel]) -> dict[str, Any]:
    """Describe to OpenAPI a body that may be left out, which the routes read themselves."""
    schema = {"$ref": f"#/components/schemas/{wire.__name__}"}
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}
