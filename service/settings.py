"""The settings of the service, read from the environment; the last module that knows it."""

import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

import models
from service.engine.core import EngineOptions
from service.engine.scheduler import BatchPolicy


def _cache() -> Path:
    try:
        return Path("~/.cache/seqserve").expanduser()
    except RuntimeError:  # a user without a home, as containers have
        return Path(tempfile.gettempdir()) / "seqserve-cache"


CACHE = _cache()
ZOO = Path(models.__file__).parent / "zoo"


class Settings(BaseSettings):
    """Every setting, ``SEQSERVE_<NAME>`` in the environment."""

    model_config = SettingsConfigDict(env_prefix="SEQSERVE_", frozen=True, extra="ignore")

    models: Path = Field(ZOO, description="the repository of models to serve")
    provider: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where models run; auto is CUDA if present and working, else CPU"
    )
    workers: Annotated[int, Field(ge=1)] = Field(
        1, description="processes that share the port; each loads every model"
    )
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None, description="runner threads a model and worker; unset: the container's processors"
    )
    max_batch_size: Annotated[int, Field(ge=1)] = Field(64, description="sequences in one batch")
    max_batch_steps: Annotated[int, Field(ge=1)] = Field(
        65_536, description="time steps in one batch, counted after padding"
    )
    inline_ms: Annotated[float, Field(ge=0)] = Field(
        10, description="a batch foretold to be so short runs without a thread of its own"
    )
    express: bool = Field(
        default=True, description="plain predictions go past the web framework, to the same answer"
    )
    profile_ms: Annotated[int, Field(ge=0)] = Field(
        500, description="time to measure a model's costs at its first load; 0: not at all"
    )
    cache: Path = Field(CACHE, description="folder of measured costs, made if it is not there")
    max_waiting: Annotated[int, Field(ge=1)] = Field(
        4_096, description="sequences a model's queue holds; a request beyond it gets a 503"
    )
    max_sequences: Annotated[int, Field(ge=1)] = Field(
        1_024, description="sequences in one request"
    )
    max_body_bytes: Annotated[int, Field(ge=1)] = Field(
        16 * 2**20, description="bytes in one request's body"
    )
    request_timeout_ms: Annotated[int, Field(ge=1)] = Field(
        30_000, description="deadline of a request that sets none, or a longer one"
    )
    shutdown_timeout_s: Annotated[int, Field(ge=1)] = Field(
        20, description="time to finish accepted work when stopping"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least level that is logged"
    )
    log_format: Literal["json", "text"] = Field(
        "json", description="one JSON object a line, or text"
    )
    access_log: bool = Field(default=True, description="one log line a request")

    def engine_options(self) -> EngineOptions:
        """Return what the engine must know, as its own value."""
        policy = BatchPolicy(self.max_batch_size, self.max_batch_steps, self.max_waiting)
        return EngineOptions(
            self.provider,
            self.threads,
            self.workers,
            policy,
            inline_seconds=self.inline_ms / 1000,
            profile_seconds=self.profile_ms / 1000,
            cache=self.cache,
        )
