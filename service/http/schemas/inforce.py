"""What is in force: versions, provider, threads, limits; what an operator asks a service first."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from platform import python_version
from typing import Literal

from pydantic import BaseModel, Field

from service.engine.core import Engine
from service.engine.cpus import available_cpus
from service.engine.runner import RUNTIME

PACKAGES = ("numpy", "fastapi", "uvicorn", "opentelemetry-sdk")

Figure = int | float | None


class ServiceOut(BaseModel):
    """One worker of the service, as it runs."""

    name: Literal["seqserve"] = "seqserve"
    version: str
    versions: dict[str, str] = Field(description="of what it is made of, where installed")
    provider: Literal["cpu", "cuda"] | None = Field(description="where models run")
    provider_reason: str
    processors: int = Field(description="that this machine or container allows")
    workers: int = Field(description="processes that share the port")
    threads: int = Field(description="runner threads of each model on the CPU, in each worker")
    spare_threads: int = Field(description="more of them, for requests of many batches")
    limits: dict[str, Figure] = Field(description="every setting that is a number, by its name")


class InForce:
    """Tells what runs here, where, and within which limits; ``figures`` are settings."""

    def __init__(self, engine: Engine, figures: Mapping[str, Figure]) -> None:
        self._engine = engine
        self._figures = figures
        self._ours, self._versions = installed("seqserve"), _versions()  # read from disk once

    def now(self) -> ServiceOut:
        """Return what is in force at this moment."""
        device, slots = self._engine.device, self._engine.options.slots
        return ServiceOut(
            version=self._ours,
            versions=self._versions,
            provider=device.provider if device else None,
            provider_reason=device.reason if device else "not started",
            processors=available_cpus(),
            workers=self._engine.options.workers,
            threads=slots.share,
            spare_threads=slots.spare,
            limits=dict(self._figures),
        )


def _versions() -> dict[str, str]:
    runtime, _, number = RUNTIME.partition(" ")
    found = {"python": python_version(), runtime: number}
    for package in PACKAGES:
        try:
            found[package] = installed(package)
        except PackageNotFoundError:
            continue
    return found
