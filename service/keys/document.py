"""The file of keys: hashes and permissions, validated strictly and replaced atomically."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from models import durable
from models.document import faults
from service.keys.errors import UnusableKeys
from service.keys.limits import Quota, Rate

PATIENCE = 5.0  # seconds; a change of another process takes milliseconds
MOST = 2**25  # bytes of the file, tens of thousands of keys
OURS = 0o600  # only the owner may read or write the file
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Scope(StrEnum):
    """What a key may do; none includes another."""

    PREDICT = "predict"
    SESSIONS = "sessions"
    ADMIN = "admin"
    METRICS = "metrics"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Key(_Strict):
    """One key, without its secret."""

    id: Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
    name: Name
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    created: AwareDatetime
    expires: AwareDatetime | None = None
    tenant: Name | None = None
    any_tenant: bool = False  # whether a key without a tenant may name one
    rate: str | None = None
    burst: Annotated[int, Field(ge=1)] | None = None
    quota: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tenant is not None and self.any_tenant:
            raise ValueError("a key with a tenant cannot name another")
        if self.burst is not None and self.rate is None:
            raise ValueError("a burst needs a rate")
        if self.rate is not None:
            Rate.parse(self.rate, self.burst)
        if self.quota is not None:
            Quota.parse(self.quota)
        return self

    def expired(self, now: datetime) -> bool:
        """Whether the key has expired."""
        return self.expires is not None and self.expires <= now


class Keys(_Strict):
    """All keys of a service."""

    version: Literal[1] = 1
    keys: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def _check_distinct(self) -> Self:
        for what in ("id", "name"):
            if len({getattr(key, what) for key in self.keys}) < len(self.keys):
                raise ValueError(f"two keys have the same {what}")
        return self


Change = Callable[[Keys], Keys]


def read(path: Path) -> Keys:
    """Return the keys of a file; raise UnusableKeys."""
    try:
        return Keys.model_validate_json(durable.read(path, MOST))
    except OSError as exc:
        raise UnusableKeys(f"{path}: {exc.strerror}") from exc
    except ValidationError as exc:
        told = ": ".join(filter(None, faults(exc)[0]))
        raise UnusableKeys(f"{path}: {told}") from exc


def change(path: Path, new: Change) -> None:
    """
    Replace the keys by what ``new`` returns for them, atomically and durably.

    Concurrent changes are made one after the other.  Raises UnusableKeys.
    """
    try:
        with durable.alone(path.parent, PATIENCE):
            keys = new(read(path) if path.exists() else Keys())
            text = keys.model_dump_json(indent=2, exclude_none=True) + "\n"
            durable.replace(path, text.encode(), OURS)
    except OSError as exc:
        raise UnusableKeys(f"{path}: {exc.strerror}") from exc


def now() -> datetime:
    """Return the time, as the file has it."""
    return datetime.now(UTC).replace(microsecond=0)
