"""The state a model should be in: versions, aliases, shares of the traffic, a shadow."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from models.document import Document, faults

ALIAS_PATTERN = r"^[a-z][a-z0-9._-]{0,31}$"
TARGET_PATTERN = r"^([1-9][0-9]{0,8}|[a-z][a-z0-9._-]{0,31})$"

MOST = 64  # of anything that is asked for by name, or divides the traffic
MOST_WITHDRAWN = 4_096

Version = Annotated[int, Field(ge=1, le=999_999_999)]
Alias = Annotated[str, Field(pattern=ALIAS_PATTERN)]
Target = Annotated[str, Field(pattern=TARGET_PATTERN)]  # a version number or an alias
Weight = Annotated[float, Field(gt=0, le=1e9)]


class ServingError(Exception):
    """Base class of errors of a serving state."""


class ServingUnfit(ServingError):
    """A change would make the state inconsistent."""


class ServingUnreadable(ServingError):
    """The file does not hold a valid state."""


class ServingChanged(ServingError):
    """Somebody else changed the state since it was read."""


class ServingNotKept(ServingError):
    """The state cannot be written, and trying again does not help."""


class ServingNotKeptNow(ServingError):
    """The state cannot be written now: the disk is full, or another process has the lock."""


class Shadow(Document):
    """A version that gets a copy of a share of the requests, and answers none of them."""

    version: Version | Alias
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class Serving(Document):
    """
    The state that operators want a model to be in.

    Without ``traffic`` the newest version answers requests that name none; else they are divided
    by weight.  A withdrawn version, or any while the model is ``offline``, answers no request.
    """

    schema_version: Literal[1] = 1
    offline: bool = False
    withdrawn: Annotated[tuple[Version, ...], Field(max_length=MOST_WITHDRAWN)] = ()
    # Kept in memory, used or not.
    loaded: Annotated[tuple[Version, ...], Field(max_length=MOST)] = ()
    aliases: Annotated[Mapping[Alias, Version], Field(max_length=MOST)] = Field(
        default_factory=dict
    )
    traffic: Annotated[Mapping[Target, Weight], Field(max_length=MOST)] | None = None
    shadow: Shadow | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.traffic is not None and not self.traffic:
            raise ValueError("traffic: expected at least one version or alias, or null")
        named = [(target, "has a share of the traffic") for target in self.traffic or ()]
        if self.shadow:
            named.append((str(self.shadow.version), "is the shadow"))
        for target, use in named:
            if not target.isdecimal() and target not in self.aliases:
                raise ValueError(f"there is no alias {target!r}, and yet it {use}")
        for version, use in self.uses().items():
            if version in self.withdrawn:
                raise ValueError(f"version {version} is withdrawn, and yet {use}")
        return self

    def version(self, target: str | int) -> int:
        """Return the version that a number or a known alias stands for."""
        if isinstance(target, str) and target in self.aliases:
            return self.aliases[target]
        return int(target)

    def weights(self) -> dict[int, float]:
        """Return the share of each version; empty if the newest version has all the traffic."""
        found: dict[int, float] = {}
        for target, weight in (self.traffic or {}).items():
            version = self.version(target)
            found[version] = found.get(version, 0.0) + weight
        total = sum(found.values())
        return {version: weight / total for version, weight in found.items()}

    def uses(self) -> dict[int, str]:
        """Return the versions in use, and a clause that says for what."""
        found = dict.fromkeys(self.loaded, "shall be loaded")
        found |= {version: f"is {alias!r}" for alias, version in self.aliases.items()}
        if self.shadow:
            found[self.version(self.shadow.version)] = "is the shadow"
        return found | dict.fromkeys(self.weights(), "has a share of the traffic")

    def withdraws(self, version: int) -> bool:
        """Whether a version must answer no request."""
        return self.offline or version in self.withdrawn

    def with_(self, **changes: Any) -> Self:  # noqa: ANN401  checked by the model
        """Return the state with some fields changed; raise ServingUnfit."""
        try:
            return type(self).model_validate(self.model_dump() | changes)
        except ValueError as exc:
            raise ServingUnfit(reason(exc)) from None

    def with_loaded(self, version: int | None, published: Collection[int] = ()) -> Self:
        """
        Return the state after a load of a version, or of the model; raise ServingUnfit.

        Versions that were unloaded one by one stay so when the model is loaded, unless they are
        all that is ``published``: then it would answer nobody.
        """
        if version is None:
            none_left = bool(published) and all(each in self.withdrawn for each in published)
            return self.with_(offline=False, withdrawn=() if none_left else self.withdrawn)
        withdrawn = tuple(each for each in self.withdrawn if each != version)
        loaded = tuple(sorted({*self.loaded, version}))
        return self.with_(offline=False, withdrawn=withdrawn, loaded=loaded)

    def with_unloaded(self, version: int | None) -> Self:
        """
        Return the state after an unload: of a version, or of the whole model.

        Raises ServingUnfit where the version has traffic, an alias or the shadow's part.
        """
        if version is None:
            return self.with_(offline=True)
        loaded = tuple(each for each in self.loaded if each != version)
        return self.with_(loaded=loaded, withdrawn=tuple(sorted({*self.withdrawn, version})))

    def with_alias(self, alias: str, version: int | None) -> Self:
        """Return the state where an alias stands for a version, or for none; raise ServingUnfit."""
        aliases = {key: value for key, value in self.aliases.items() if key != alias}
        return self.with_(aliases=aliases if version is None else aliases | {alias: version})

    @property
    def tag(self) -> str:
        """A hash of the state, by which a concurrent change is noticed."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def reason(error: ValueError) -> str:
    """Say in one line what pydantic found, or what another error says."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(": ".join(filter(None, fault)) for fault in faults(error))
