"""The settings of the service, read from the environment; the last module that knows it."""

import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.repository import INSTALLED, Repository
from service.engine.core import EngineOptions
from service.engine.scheduler import BatchPolicy
from service.engine.vetting.verdict import VettingLimits
from service.keys.ring import Keyring
from service.keys.usage import Usage
from service.sessions.location import open_store
from service.sessions.sessions import SessionOptions
from service.sessions.store import Limits, Store


def _home(folder: str) -> Path:
    try:
        return Path("~", folder, "seqserve").expanduser()
    except RuntimeError:  # a user without a home, as containers have
        return Path(tempfile.gettempdir(), "seqserve", folder)


CACHE, DATA = _home(".cache"), _home(".local/share")
NO_STORE = "none"
MOST_BYTES = 2**50  # that a setting may allow
ZOO = INSTALLED


class Settings(BaseSettings):
    """Every setting, ``SEQSERVE_<NAME>`` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="SEQSERVE_", frozen=True, extra="ignore", allow_inf_nan=False
    )

    models: Path = Field(ZOO, description="the repository of models to serve")
    states: Path | None = Field(
        None, description="folder that keeps what of each model shall serve; unset: with its files"
    )
    watch_s: Annotated[float, Field(ge=0)] = Field(
        1, description="time between two looks for what was published or changed; 0: none"
    )
    version_idle_s: Annotated[float, Field(ge=0)] = Field(
        300, description="time until a version is let go that only its number was asked by"
    )
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
    cache: Path = Field(
        CACHE, description="folder of verdicts on files and measured costs, made if it is not there"
    )
    max_model_bytes: Annotated[int, Field(ge=1, le=MOST_BYTES)] = Field(
        512 * 2**20, description="bytes of a model file; a larger one is refused"
    )
    vetting_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        60, description="time in which a new model file must pass its checks"
    )
    vetting_bytes: Annotated[int, Field(ge=1, le=MOST_BYTES)] = Field(
        2 * 2**30, description="memory that a new model file may take while it is checked"
    )
    max_waiting: Annotated[int, Field(ge=1)] = Field(
        4_096, description="sequences a model's queue holds; a request beyond it gets a 503"
    )
    max_queue_ms: Annotated[float, Field(gt=0)] = Field(
        250, description="foretold wait over which newcomers get a 503, until it is over"
    )
    max_sequences: Annotated[int, Field(ge=1)] = Field(
        1_024,
        description="sequences in one request; no more than a queue holds",
        validate_default=True,
    )
    max_body_bytes: Annotated[int, Field(ge=1)] = Field(
        16 * 2**20, description="bytes in one request's body, inflated if it was compressed"
    )
    max_elements: Annotated[int, Field(ge=1)] = Field(
        1_000_000, description="numbers, arrays and objects in one JSON body"
    )
    max_depth: Annotated[int, Field(ge=1, le=32)] = Field(
        32, description="arrays and objects in each other in one JSON body, at most 32"
    )
    request_timeout_ms: Annotated[int, Field(ge=1, le=86_400_000)] = Field(
        30_000, description="deadline of a request that sets none, or a longer one"
    )
    max_uri_bytes: Annotated[int, Field(ge=1, le=65_535)] = Field(
        8_192, description="bytes of a URI; a longer one gets a 414"
    )
    max_header_bytes: Annotated[int, Field(ge=1)] = Field(
        32_768, description="bytes of a request's headers, and of its trailers; more get a 431"
    )
    max_headers: Annotated[int, Field(ge=1)] = Field(
        100, description="headers of a request, and trailers; more get a 431"
    )
    max_chunks: Annotated[int, Field(ge=1)] = Field(
        65_536, description="chunks of a chunked body; more get a 400"
    )
    head_timeout_s: Annotated[float, Field(gt=0)] = Field(
        10.0, description="time for a request's headers to come, then 408"
    )
    body_timeout_s: Annotated[float, Field(gt=0)] = Field(
        30.0, description="time for a body to come, then 408; and to read on in an answer"
    )
    keep_alive_s: Annotated[float, Field(gt=0)] = Field(
        5.0, description="time that a connection stays open between two requests"
    )
    max_connections: Annotated[int, Field(ge=1)] = Field(
        10_000,
        description="connections a worker holds; then idle ones close, or new ones get a 503",
    )
    backlog: Annotated[int, Field(ge=1, le=65_535)] = Field(
        2_048, description="connections that may wait to be accepted"
    )
    store: str = Field(
        f"sqlite:///{DATA / 'sessions.db'}",
        description="where sessions are kept: sqlite:///file, redis://host; none: no sessions",
    )
    durability: Literal["process", "power"] = Field(
        "process", description="what an acknowledged step survives: the process, or the power"
    )
    session_idle_s: Annotated[float, Field(ge=0.001, le=1e9)] = Field(
        86_400, description="time after its last step in which a session expires"
    )
    max_sessions: Annotated[int, Field(ge=1)] = Field(1_000_000, description="sessions kept")
    max_session_bytes: Annotated[int, Field(ge=1)] = Field(
        16 * 2**30, description="bytes of the states and last answers of all sessions"
    )
    max_tenant_sessions: Annotated[int, Field(ge=1)] = Field(
        100_000, description="sessions kept of one tenant"
    )
    max_tenant_bytes: Annotated[int, Field(ge=1)] = Field(
        4 * 2**30, description="bytes of the states and last answers of one tenant's sessions"
    )
    max_steps: Annotated[int, Field(ge=1)] = Field(
        10_000, description="steps of sessions in one request"
    )
    state_key: SecretStr = Field(
        SecretStr(""), description="signs exported states; unset: a key that the store keeps"
    )
    keys: Path | None = Field(
        None, description="the file of keys; unset: whoever reaches the service may use it"
    )
    usage: Path = Field(DATA / "usage", description="what each key has used of its rate and quota")
    no_keys_on_public_address: bool = Field(
        default=False,
        description="listen without keys where others reach it; they may do all but administer",
    )
    drain_s: Annotated[float, Field(ge=0)] = Field(
        5, description="time after SIGTERM in which all is served and readiness says 503"
    )
    shutdown_timeout_s: Annotated[int, Field(ge=1)] = Field(
        20, description="time to finish accepted work when stopping, the drain included"
    )
    spares: Annotated[int, Field(ge=0)] = Field(
        1, description="processes kept loaded to take the place of a worker that dies"
    )
    hung_s: Annotated[float, Field(ge=1)] = Field(
        10, description="silence after which a worker is taken to hang, and is replaced"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least level that is logged"
    )
    log_format: Literal["json", "text"] = Field(
        "json", description="one JSON object a line, or text"
    )
    access_log: bool = Field(default=True, description="one log line a request")

    @field_validator("max_sequences")
    @classmethod
    def _may_wait(cls, sequences: int, others: ValidationInfo) -> int:
        """Refuse to allow requests that no queue could ever take: they would get 503 for ever."""
        room = others.data.get("max_waiting", sequences)  # absent if it is wrong itself
        if sequences > room:
            raise PydanticCustomError(
                "more_than_wait",
                "{sequences} is more than SEQSERVE_MAX_WAITING, {room}: none such could wait",
                {"sequences": sequences, "room": room},
            )
        return sequences

    def figures(self) -> dict[str, int | float | None]:
        """Return the settings that are numbers, by name; a secret or a path never is."""
        found = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {
            name: value
            for name, value in found
            if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        }

    def session_options(self) -> SessionOptions:
        """Return what the sessions must know, as their own value."""
        return SessionOptions(self.session_idle_s, self.state_key.get_secret_value().encode())

    def open_store(self) -> Store | None:
        """Return where sessions are kept, None for nowhere; raise UnusableStore."""
        if self.store == NO_STORE:
            return None
        limits = Limits(
            self.max_sessions,
            self.max_session_bytes,
            self.max_tenant_sessions,
            self.max_tenant_bytes,
        )
        return open_store(self.store, limits=limits, durability=self.durability)

    def open_keyring(self) -> Keyring | None:
        """Return the keys to ask for, None for none; raise UnusableKeys or UnusableUsage."""
        if self.keys is None:
            return None
        return Keyring(self.keys, Usage.open(self.usage))

    def engine_options(self) -> EngineOptions:
        """Return what the engine must know, as its own value."""
        policy = BatchPolicy(
            self.max_batch_size,
            self.max_batch_steps,
            self.max_waiting,
            self.max_queue_ms / 1000,
        )
        return EngineOptions(
            self.provider,
            self.threads,
            self.workers,
            policy,
            inline_seconds=self.inline_ms / 1000,
            profile_seconds=self.profile_ms / 1000,
            cache=self.cache,
            watch_seconds=self.watch_s,
            idle_seconds=self.version_idle_s,
            vetting=VettingLimits(self.max_model_bytes, self.vetting_s, self.vetting_bytes),
        )

    def repository(self) -> Repository:
        """Return the models to serve, and where their states are kept."""
        return Repository(self.models, self.states)
